"""The sources that Sphinx builds from: which pages there are, what is written anew, what is removed, recordings."""

import json
import subprocess

import pytest

from course_lib.content import course_root
from course_lib.study.site import build
from course_lib.study.site.sources import load_course, write_sources


@pytest.fixture
def course(tmp_path):
    """Notebook 00 of the course, in a folder whose episodes may be changed."""
    real, root = course_root(), tmp_path / "course"
    root.mkdir()
    for name in ("docs", "notebooks", "exercises", "flashcards", "quizzes", "RESULTS.md"):
        (root / name).symlink_to(real / name)
    (root / "episodes").mkdir()
    script = (real / "episodes" / "00_start_here.md").read_text(encoding="utf-8")
    (root / "episodes" / "00_start_here.md").write_text(script, encoding="utf-8")
    return load_course(root, only={"00"})


def write(course, folder):
    return write_sources(course, folder, parts=("losses",))


def test_there_is_a_page_for_everything(course, tmp_path):
    folder = tmp_path / "source"
    num_pages, num_removed = write(course, folder)
    pages = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".md", ".rst", ".ipynb")
    }
    assert pages == {
        "index.md",
        "review.md",
        "listen.md",
        "glossary.md",
        "concept-map.md",
        "results.md",
        "practice/00.md",
        "notebooks/00_start_here.ipynb",
        "originals/00_start_here.ipynb",
        "reference/index.md",
        "reference/losses.rst",
    }
    assert num_pages == len(pages) - 1  # the original is for downloading
    assert num_removed == 0
    assert (folder / "conf.py").is_file()
    assert (folder / "_static" / "course-quiz.js").is_file()


def test_the_original_to_download_is_the_notebook_itself(course, tmp_path):
    write(course, tmp_path / "source")
    original = (tmp_path / "source" / "originals" / "00_start_here.ipynb").read_bytes()
    assert original == course.notebooks["00"].read_bytes()


def test_the_front_page_leads_to_what_is_there_and_says_what_is_planned(course, tmp_path):
    write(course, tmp_path)
    text = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert "**[00 How AI models are trained, in one sitting](notebooks/00_start_here.ipynb)**, 50 min" in text
    assert "- 07 Holding back to do better *(planned)*: " in text
    assert text.count("```{toctree}") == 3  # part A, practise, look up


def test_a_second_writing_touches_nothing_and_removes_what_is_gone(course, tmp_path):
    write(course, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    write(course, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (tmp_path / "mine.txt").write_text("not written by us")
    (course.root / "episodes" / "00_start_here.md").unlink()
    assert write(load_course(course.root, only={"00"}), tmp_path)[1] == 1
    assert not (tmp_path / "listen.md").exists()
    assert (tmp_path / "mine.txt").exists()


def test_a_recording_is_taken_along_where_there_is_one(course, tmp_path):
    write(course, tmp_path)
    assert "<audio" not in (tmp_path / "listen.md").read_text(encoding="utf-8")
    (course.root / "episodes" / "00_start_here.mp3").write_bytes(b"sound")
    write(course, tmp_path)
    assert (tmp_path / "extra" / "audio" / "00_start_here.mp3").read_bytes() == b"sound"
    assert 'src="audio/00_start_here.mp3"' in (tmp_path / "listen.md").read_text(encoding="utf-8")
    page = json.loads((tmp_path / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8"))
    assert 'src="../audio/00_start_here.mp3"' in page["cells"][1]["source"]


def test_a_notebook_that_was_never_run_is_not_shown(course, tmp_path):
    notebook = json.loads(course.notebooks["00"].read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
    (course.root / "notebooks").unlink()
    (course.root / "notebooks").mkdir()
    (course.root / "notebooks" / "plan.yaml").write_bytes((course_root() / "notebooks" / "plan.yaml").read_bytes())
    (course.root / "notebooks" / "00_start_here.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    assert load_course(course.root).notebooks == {}


def test_without_docs_nothing_is_built(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no docs/: the website is built from a clone"):
        build.build_site(tmp_path, tmp_path / "out")


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "PACKAGES", {"json": "json", "no_such_module": "no-such-package"})
    with pytest.raises(ValueError, match=r"needs no-such-package: pip install -e '\.\[learn,site\]'"):
        build.build_site(course_root(), tmp_path)


def test_a_complaint_of_sphinx_ends_the_build(monkeypatch, course, tmp_path):
    monkeypatch.setattr(build, "PACKAGES", {})
    monkeypatch.setattr(build.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    with pytest.raises(ValueError, match="Sphinx was not content"):
        build.build_site(course.root, tmp_path / "out", only={"00"}, parts=("losses",))
