"""The one form in which notebooks are stored, so that a change in git is a change of content."""

from __future__ import annotations

import copy
from typing import Any

import nbformat

from course_lib.study.material.static import strip_widgets

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"}
KEPT_METADATA = ("course",)
DROPPED_CELL_METADATA = ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled", "trusted")


def to_stored_form(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a copy without what differs from run to run or from machine to machine.

    Widgets and their state, times of execution, editors' metadata and the kernel's version go; execution counts
    become 1, 2, 3...; neighbouring pieces of one stream become one. Sources, ids, tags, other outputs and
    ``metadata.course`` stay as they are. Doing it twice changes nothing more.
    """
    stored = copy.deepcopy(notebook)
    strip_widgets(stored)
    metadata = stored.get("metadata", {})
    stored["metadata"] = {key: metadata[key] for key in KEPT_METADATA if key in metadata}
    stored["metadata"] |= {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO)}
    stored["nbformat"], stored["nbformat_minor"] = 4, 5
    count = 0
    for cell in stored["cells"]:
        for key in DROPPED_CELL_METADATA:
            cell.get("metadata", {}).pop(key, None)
        if cell["cell_type"] != "code":
            continue
        ran = cell.get("execution_count") is not None
        count += ran
        cell["execution_count"] = count if ran else None
        cell["outputs"] = _merged_streams(cell.get("outputs", []))
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = cell["execution_count"]
    return stored


def as_stored_text(notebook: dict[str, Any]) -> str:
    """Return the file's text: the stored form as JSON, indented by one, with a newline at its end."""
    node = nbformat.from_dict(to_stored_form(notebook))  # type: ignore[no-untyped-call]
    return str(nbformat.writes(node, version=4)).rstrip("\n") + "\n"  # type: ignore[no-untyped-call]


def _merged_streams(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for output in outputs:
        before = merged[-1] if merged else {}
        if output["output_type"] == "stream" == before.get("output_type") and output["name"] == before["name"]:
            before["text"] = _text(before["text"]) + _text(output["text"])
        else:
            merged.append(output)
    return merged


def _text(value: str | list[str]) -> str:
    return "".join(value) if isinstance(value, list) else value
