"""The stored form: what it drops, what it keeps, and that doing it twice changes nothing more."""

import copy
import json

import pytest

from course_lib.study.running.stored_form import as_stored_text, to_stored_form

VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/html": "<p>answer</p>", "text/plain": "q"}


@pytest.fixture
def executed():
    """A notebook as JupyterLab may save it: run twice, timed, with widgets and pieces of output."""
    stream = {"output_type": "stream", "name": "stdout"}
    outputs = [stream | {"text": "a\n"}, stream | {"text": ["b\n", "é\n"]}, stream | {"text": "c", "name": "stderr"}]
    outputs.append({"output_type": "execute_result", "execution_count": 9, "metadata": {}, "data": VIEW})
    timed = {"tags": ["gpu-build"], "execution": {"iopub.execute_input": "2026-01-01T10:00:00Z"}}
    code = {"cell_type": "code", "id": "two", "metadata": timed, "source": "x\ny", "outputs": outputs}
    return {
        "cells": [
            {"cell_type": "markdown", "id": "one", "metadata": {}, "source": "# Title"},
            code | {"execution_count": 9},
            code | {"id": "three", "execution_count": None, "outputs": []},
            code | {"id": "four", "execution_count": 12, "outputs": []},
        ],
        "metadata": {
            "course": {"number": "01"},
            "kernelspec": {"display_name": "mine", "name": "mine"},
            "language_info": {"name": "python", "version": "3.13.1"},
            "widgets": {"state": {}},
            "colab": {},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def test_what_differs_between_runs_and_machines_goes_and_the_rest_stays(executed):
    before = copy.deepcopy(executed)
    stored = to_stored_form(executed)
    assert executed == before
    assert stored["metadata"] == {
        "course": {"number": "01"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "pygments_lexer": "ipython3",
        },
    }
    assert [cell["id"] for cell in stored["cells"]] == ["one", "two", "three", "four"]
    assert [cell.get("execution_count") for cell in stored["cells"]] == [None, 1, None, 2]
    assert stored["cells"][1]["metadata"] == {"tags": ["gpu-build"]}
    first, second, result = stored["cells"][1]["outputs"]
    assert (first["text"], second["name"]) == ("a\nb\né\n", "stderr")
    assert result["execution_count"] == 1
    assert result["data"] == {"text/html": "<p>answer</p>", "text/plain": "q"}


def test_the_text_is_the_same_when_stored_again(executed):
    text = as_stored_text(executed)
    assert as_stored_text(json.loads(text)) == text
    assert text.endswith("}\n")
    assert text.startswith('{\n "cells"')
    assert '"é\\n"' in text
