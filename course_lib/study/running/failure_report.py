"""A failing notebook cell in one screen: which notebook, which cell, its first lines, what went wrong and where."""

from __future__ import annotations

import re

MAX_LINES = 30
_WIDTH = 150
_SOURCE_LINES = 6
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def failure_report(where: str, source: str, error: str, details: str = "") -> str:
    """Return at most 30 lines about a cell that failed.

    Args:
        where: Notebook and cell, such as ``"notebooks/00_start_here.ipynb, In [7]"``.
        source: The cell's code; its first lines are shown.
        error: What went wrong, in a line: ``"ValueError: expected two tensors"``.
        details: A traceback or a comparison; its last lines are shown, colours removed.
    """
    code = [line for line in source.splitlines() if line.strip()]
    shown = [f"    {line}" for line in code[:_SOURCE_LINES]]
    if len(code) > _SOURCE_LINES:
        shown.append(f"    ... {len(code) - _SOURCE_LINES} more lines")
    head = [f"{where} failed: {error.strip().splitlines()[0] if error.strip() else 'no message'}", *shown]
    lines = [line.rstrip() for line in _ANSI.sub("", details).splitlines() if line.strip()]
    left = MAX_LINES - len(head) - 1
    tail = ["    ...", *lines[1 - left :]] if len(lines) > left else lines
    return "\n".join(_cut(line) for line in [*head, "", *tail]).rstrip()


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."
