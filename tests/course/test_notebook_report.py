"""The repository's pytest plugin, on a scratch folder of notebooks: what is compared, what fails, what is printed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STRICT = ["nbval-check-output"]
SHOW = "from IPython.display import display\ndisplay({'image/png': 'BBBB', 'text/plain': %r}, raw=True)"
SETTINGS = """\
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=60"]
"""


def cell(source, *outputs, tags=()):
    metadata = {"tags": list(tags)}
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": outputs, "execution_count": 1}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(alternative):
    data = {"image/png": "AAAA", "text/plain": alternative}
    return {"output_type": "display_data", "metadata": {}, "data": data}


NOTEBOOKS = {
    "00_good": (
        cell("for k in range(3):\n    print(k, flush=True)", printed("0\n1\n2\n"), tags=STRICT),
        cell("import os\nprint(os.environ['COURSE_SCALE'])", printed("cpu\n"), tags=STRICT),
        cell("print('COURSE_ROOT' in os.environ, os.path.isdir(os.environ['COURSE_HOME']))", printed("False True\n")),
        cell("print(os.environ['COURSE_HOME'] == 'mine')", printed("False\n"), tags=STRICT),
        cell(SHOW % "a text", shown("a text"), tags=STRICT),
        cell(SHOW % "a text", shown("another text")),
        cell("block = bytearray(200_000_000)"),
    ),
    "01_differs": (cell("print(1)", printed("2\n"), tags=STRICT), cell("print(3)")),
    "02_alternative": (cell(SHOW % "a text", shown("another text"), tags=STRICT),),
    "03_raises": (cell("pass\n" * 20 + "def f(n):\n    return f(n - 1) if n else 1 / 0\n\nf(60)"), cell("f(2)")),
    "04_warns": (cell("import warnings\nwarnings.warn('careful')"), cell("1 / 0")),
    "05_dies": (cell("import os\nos._exit(1)"), cell("1 / 0")),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What pytest prints about the notebooks, run side by side."""
    folder = tmp_path_factory.mktemp("scratch")
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "notebooks").mkdir()
    for name, cells in NOTEBOOKS.items():
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        notebook["metadata"]["course"] = {"compute_seconds": int(name[1])}
        (folder / f"notebooks/{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    for name in ("test_a.py", "test_b.py"):
        (folder / name).write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "nbval.plugin", "-p", "no:cacheprovider"]
    command += ["-n", "2", "--dist", "loadfile", "-v"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"COURSE_HOME": "mine", "COURSE_ROOT": "gone", "COLUMNS": "120"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return run.stdout


def section(report, notebook):
    """Return what is said about the one failure of a notebook."""
    (found,) = re.findall(rf"^_+ notebooks/{notebook}\.ipynb::Cell 0 _+\n(.*?)(?=^[_=]{{8}})", report, re.S | re.M)
    return found


def test_each_failing_notebook_is_one_failure(report):
    assert report.splitlines()[-1].strip("= ").startswith("5 failed, 9 passed, 4 skipped")


def test_only_tagged_cells_are_compared_and_pictures_by_their_text(report):
    assert "00_good.ipynb::Cell" not in report.partition("FAILURES")[2]
    assert "cell 1 (In [1]) failed: Cell outputs differ" in section(report, "01_differs")
    assert "'another text' == 'a text'" in section(report, "02_alternative")


@pytest.mark.parametrize(
    ("notebook", "reason"),
    [
        ("03_raises", "ZeroDivisionError: division by zero"),
        ("04_warns", "The cell writes to stderr"),
        ("05_dies", "The kernel died in this cell"),
    ],
)
def test_a_failure_says_which_cell_and_why_in_one_screen(report, notebook, reason):
    said = section(report, notebook)
    assert f"notebooks/{notebook}.ipynb, cell 1 (In [1]) failed: {reason}" in said
    assert len(said.splitlines()) <= 31


def test_the_longest_notebooks_start_first(report):
    started = re.findall(r"^notebooks/0(\d)", report, re.M)
    assert set(started[:2]) == {"5", "4"}
    assert report.index("notebooks/00_good") > report.index("notebooks/05_dies")


def test_the_closing_table_has_seconds_and_peak_memory(report):
    table = report.partition("notebooks: seconds with the kernel's start")[2].splitlines()[1:8]
    rows = [re.fullmatch(r"(\S+) +([\d.]+) s( +([\d.]+) GiB)?", line) for line in table]
    assert [row[1] for row in rows] == [*(f"{name}.ipynb" for name in NOTEBOOKS), "all"]
    assert float(rows[0][4]) > 0.2
    assert float(rows[-1][2]) == pytest.approx(sum(float(row[2]) for row in rows[:-1]), abs=0.5)
    assert "the slowest of 2 test files" in report
