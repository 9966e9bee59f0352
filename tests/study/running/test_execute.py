"""Running a notebook: what is stored, what is refused, and that a failure leaves the file as it was."""

import json

import pytest

from course_lib.study.running.execute import execute_notebook

ALTERNATIVE = "One orange pixel on a white ground, shown so that there is a figure."
DRAW = f"""\
from IPython.display import display
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display({{"image/png": PIXEL, "text/plain": "{ALTERNATIVE}"}}, raw=True)"""


@pytest.fixture
def write(tmp_path):
    def write(*sources):
        cells = [
            {"cell_type": "code", "id": f"cell-{k}", "metadata": {}, "source": source, "outputs": []}
            for k, source in enumerate(sources)
        ]
        for cell in cells:
            cell["execution_count"] = None
        cells.insert(0, {"cell_type": "markdown", "id": "text", "metadata": {}, "source": "# Title"})
        metadata = {"course": {"number": "01"}, "kernelspec": {"name": "no-such-kernel", "display_name": "?"}}
        path = tmp_path / "01_curves.ipynb"
        path.write_text(
            json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8"
        )
        return path

    return write


def test_a_good_notebook_is_stored_with_clean_outputs(write, tmp_path, monkeypatch):
    for name in ("COURSE_HOME", "MY_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "mine"))
    path = write(
        "import os\nfor _ in range(3):\n    print('a', flush=True)",
        DRAW,
        "import ipywidgets\nwidget = ipywidgets.IntSlider()\ndisplay(widget)",
        "print(os.environ['COURSE_SCALE'], os.environ['COURSE_HOME'] == os.environ['MY_HOME'], len(os.listdir()))",
    )
    execution = execute_notebook(path, store=True)
    assert execution.error is None
    assert execution.stored
    assert 20e6 < execution.peak_memory_bytes < 1e9
    stored = json.loads(path.read_text(encoding="utf-8"))
    loop, figure, widget, environment = stored["cells"][1:]
    assert [cell["execution_count"] for cell in stored["cells"][1:]] == [1, 2, 3, 4]
    assert [cell["id"] for cell in stored["cells"]] == ["text", "cell-0", "cell-1", "cell-2", "cell-3"]
    assert [output["text"] for output in loop["outputs"]] == [["a\n", "a\n", "a\n"]]
    assert figure["outputs"][0]["data"]["text/plain"] == [ALTERNATIVE]
    assert (widget["outputs"], "widgets" in stored["metadata"]) == ([], False)
    assert environment["outputs"][0]["text"] == ["cpu False 1\n"]
    assert all(cell["metadata"] == {} for cell in stored["cells"])
    assert stored["metadata"]["course"] == {"number": "01"}
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    assert [path.name for path in tmp_path.iterdir()] == ["01_curves.ipynb"]


def test_a_run_without_store_leaves_the_file_alone(write):
    path = write("print(1)")
    before = path.read_bytes()
    execution = execute_notebook(path)
    assert (execution.error, execution.stored, path.read_bytes()) == (None, False, before)


FAILURES = {
    "error": ("def f(n):\n    return f(n - 1) if n else 1 / 0\n\nf(80)", "failed: ZeroDivisionError: division by zero"),
    "too slow": ("import time\ntime.sleep(60)", "failed: it took longer than 4 s"),
    "killed": ("import os\nos._exit(1)", "failed: the kernel died"),
    "warning": ("import warnings\nwarnings.warn('old')", "'import warnings': output on stderr"),
    "path": ("print('/tmp/x/y')", "the code names a folder of one machine"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_names_the_cell_in_one_screen_and_stores_nothing(write, failure):
    source, expected = FAILURES[failure]
    path = write("print('before')", source, "print('after')")
    before = path.read_bytes()
    execution = execute_notebook(path, store=True, timeout=4)
    assert execution.error.startswith("notebooks/01_curves.ipynb, cell 3 (In [2])")
    assert expected in execution.error
    assert len(execution.error.splitlines()) <= 30
    assert not execution.stored
    assert path.read_bytes() == before


def test_a_notebook_that_leaves_files_behind_is_refused(write):
    execution = execute_notebook(write("open('left.txt', 'w').close()"), store=True)
    assert "it left files in its folder (left.txt)" in execution.error
    assert not execution.stored


def test_what_is_no_notebook_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"01_gone.ipynb is no readable notebook"):
        execute_notebook(tmp_path / "01_gone.ipynb")
