"""A wheel built from the tree imports and finds its course, with nothing of the checkout in sight."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COURSE_FOLDERS = ("notebooks", "flashcards", "quizzes", "exercises", "results", "episodes")
UNTRACKED = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}
# Packages that are installed are found by their plain folder: without `site`, no link to the checkout is followed.
PROBE = """
import json, sys
sys.path[:0] = [sys.argv[1]]
sys.path.append(sys.argv[2])
import course_lib, course_lib.data, course_lib.loops, course_lib.notebook
from course_lib.content import course_root, notebook_paths
from course_lib.study import cli, doctor
print(json.dumps({
    "library": course_lib.__file__,
    "root": str(course_root()),
    "notebooks": list(notebook_paths()),
    "paths": sys.path,
}))
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


def course_files():
    """Every file of the course's folders, as the wheel should hold it."""
    paths = (path for folder in COURSE_FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    names = (path.relative_to(ROOT) for path in paths)
    return {f"course_lib/_course/{name.as_posix()}" for name in names if not UNTRACKED & set(name.parts)}


def test_it_holds_the_whole_course_and_nothing_besides(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith("course_lib/_course/")} == course_files()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"course_lib"}


def test_it_holds_both_licences_and_the_mark_that_it_is_typed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "course_lib/py.typed" in names
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-PROSE"}


def test_installed_in_an_empty_environment_it_finds_its_own_course(wheel, tmp_path):
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    run(sys.executable, *install, "--target", str(target), str(wheel))

    environment = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
    packages = sysconfig.get_paths()["platlib"]
    told = run(sys.executable, "-I", "-S", "-c", PROBE, str(target), packages, cwd=elsewhere, env=environment)

    found = json.loads(told)
    assert str(ROOT) not in found["paths"]
    assert Path(found["library"]) == target / "course_lib" / "__init__.py"
    root = Path(found["root"])
    assert root == target / "course_lib" / "_course"
    assert found["notebooks"] == [path.name[:2] for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
    assert "00" in found["notebooks"]
    assert [folder for folder in COURSE_FOLDERS if not any((root / folder).glob("00_*"))] == []


def test_the_command_is_installed_with_it(wheel):
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "course = course_lib.study.cli.main:main" in archive.read(entry_points).decode()
