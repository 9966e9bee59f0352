"""What may be stored under a cell: results that are the same on every machine, and figures that can also be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Cell, Page, joined

MAX_FIGURE_BYTES = 60_000
MAX_NOTEBOOK_BYTES = 1_000_000
MIN_ALTERNATIVE_LETTERS = 40
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ALLOWED_CELL_METADATA = {"tags", "editable", "deletable", "jupyter"}

_FOLDER_OF_A_MACHINE = r"/(?:tmp|root|work|home/\w+|Users/\w+)/"
_PATH_IN_CODE = re.compile(rf"{_FOLDER_OF_A_MACHINE}|\b[A-Za-z]:\\{{1,2}}\w")
_PATH = re.compile(
    rf"{_PATH_IN_CODE.pattern}|(?:site|dist)-packages|file://"
    r"|(?<![\w.:/<~])/[A-Za-z][\w.+-]*/[\w.+-]+"  # any absolute path of two parts or more
)
_CLOCK = re.compile(
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
    r"|(?<![\w\[.,:])(?:[01]?\d|2[0-3]):[0-5]\d:[0-5]\d(?![\w\]:])"
    r"|(?<![\w\[.,:])(?:[01]\d|2[0-3]):[0-5]\d(?![\w\],:])"
)
_WARNING = re.compile(r"\b[A-Z]\w*Warning\b\s*:")
_REPR = re.compile(
    r"<(?:matplotlib|Axes|Figure|seaborn|mpl_toolkits)\b[^>]*>?|<[\w.]+ (?:object )?at 0x[0-9a-fA-F]+|at 0x[0-9a-f]{6,}"
)
_FIGURE_REPR = re.compile(r"\s*(?:<|Figure\(|\[<|Text\()")

_RUN_AGAIN = "Run it from top to bottom and store it: course run {} --store."


def check_outputs(page: Page) -> list[Complaint]:
    """Complain about stored outputs that a reader would trip over, and about cells that were not run in order."""
    return [*_execution(page), *_whole_file(page), *(found for cell in page.code for found in _cell(page, cell))]


def shown_text(output: dict[str, Any]) -> str:
    """Return all that an output shows as text, in whatever form."""
    data = output.get("data", {})
    texts = [joined(value) for kind, value in data.items() if kind.startswith("text/")]
    return "\n".join([joined(output.get("text")), *texts])


def _execution(page: Page) -> Iterator[Complaint]:
    expected = 0
    for cell in page.cells:
        if not cell.source.strip():
            yield page.complaint("the cell is empty", "Remove it.", cell=cell)
        elif cell.kind == "code":
            expected += 1
            if cell.count is None:
                yield page.complaint("the cell was not run", _RUN_AGAIN.format(page.number), cell=cell)
            elif cell.count != expected:
                what = f"the cells were not run in order: In [{cell.count}] where In [{expected}] belongs"
                yield page.complaint(what, _RUN_AGAIN.format(page.number), cell=cell)
                return


def _whole_file(page: Page) -> Iterator[Complaint]:
    size = len(page.text.encode())
    if size > MAX_NOTEBOOK_BYTES:
        what = f"the file is {size // 1000} KB, more than {MAX_NOTEBOOK_BYTES // 1000}"
        yield page.complaint(what, "Show fewer or smaller figures, print less.")
    if "widgets" in page.raw.get("metadata", {}):
        yield page.complaint("widget state is stored in the metadata", _RUN_AGAIN.format(page.number))


def _cell(page: Page, cell: Cell) -> Iterator[Complaint]:
    extra = set(cell.raw.get("metadata", {})) - ALLOWED_CELL_METADATA
    if extra:
        what = f"the cell's metadata holds {', '.join(sorted(extra))}"
        yield page.complaint(what, _RUN_AGAIN.format(page.number), cell=cell)
    if path := _PATH_IN_CODE.search(cell.source):
        cure = "Write to tempfile.TemporaryDirectory(), read through course_lib."
        yield page.complaint(f"the code names a folder of one machine: {path.group()}", cure, cell=cell)
    for output in cell.outputs:
        for what, cure in (*_text_faults(output), *_data_faults(output)):
            yield page.complaint(what, cure.format(page.number), cell=cell)


def _text_faults(output: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if output.get("output_type") == "error":
        yield f"a stored error, {output.get('ename')}", "Catch it in the cell and print its message."
        return
    text = shown_text(output)
    if output.get("name") == "stderr":
        yield f"output on stderr: {text.strip()[:70]!r}", "Mend its cause; a message for the reader goes to stdout."
    elif warning := _WARNING.search(text):
        yield f"a stored warning: {text[warning.start() :][:70]!r}", "Mend its cause."
    for pattern, name, cure in (
        (_PATH, "a path of one machine", "Print the file's name alone."),
        (_CLOCK, "a time of day or a date with its time", "Leave it out; durations are printed in seconds."),
        (_REPR, "an object's repr", "Print what the reader wants to know, or end the line with a semicolon."),
    ):
        if found := pattern.search(text):
            yield f"the output shows {name}: {found.group()!r}", cure


def _data_faults(output: dict[str, Any]) -> Iterator[tuple[str, str]]:
    data = output.get("data", {})
    if WIDGET_VIEW in data:
        yield "a widget is stored", _RUN_AGAIN
    for kind in data:
        if kind.startswith("image/") and kind != "image/png":
            yield f"a figure is stored as {kind}", "Store figures as PNG."
    if "image/png" in data:
        size = len(joined(data["image/png"])) * 3 // 4
        if size > MAX_FIGURE_BYTES:
            what = f"a figure of {size / 1000:.0f} KB, more than {MAX_FIGURE_BYTES // 1000}"
            yield what, "Make it smaller, draw fewer points, or rasterise less."
        if fault := alternative_fault(joined(data.get("text/plain"))):
            yield f"a figure whose text alternative {fault}", "Say in a sentence what someone who cannot see it needs."


def alternative_fault(text: str) -> str | None:
    """Say what keeps a text from standing in for a figure, None if nothing does.

    Example:
        >>> alternative_fault("<Figure size 640x480 with 1 Axes>")
        'is a repr'
        >>> alternative_fault("Test error falls from 0.31 to 0.04 over ten epochs; the baseline stays at 0.12.")
    """
    text = text.strip()
    if not text:
        return "is missing"
    if _FIGURE_REPR.match(text):
        return "is a repr"
    if len(text) < MIN_ALTERNATIVE_LETTERS or len(text.split()) < 6:
        return f"is too short ({len(text)} characters; {MIN_ALTERNATIVE_LETTERS} or more)"
    if text[-1] not in ".!?":
        return "is no whole sentence (no full stop)"
    return None
