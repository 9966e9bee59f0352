"""Read a notebook's cells plainly, and tell which cell of one notebook is which cell of another."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Cell = dict[str, Any]
Notebook = dict[str, Any]
Text = tuple[str, str, str]

_VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def parse_notebook(content: bytes) -> Notebook:
    r"""Return a notebook whose cells have their source as one string with ``\n`` line ends, whatever editor saved it.

    Cells without an id (format 4.4 and older), or with one that the format forbids, have none.

    Raises:
        ValueError: If this is not a notebook of format 4; says why, and in which line where JSON is broken.

    Example:
        >>> saved = b'{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "raw", "source": ["a\\r\\n", "b"]}]}'
        >>> parse_notebook(saved)["cells"][0]["source"]
        'a\nb'
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: line {error.lineno}: {error.msg}") from error
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        raise ValueError("it is not a notebook of format 4 (no list of cells)")
    if not isinstance(notebook.setdefault("metadata", {}), dict):
        raise ValueError("its metadata is not a mapping")
    for position, cell in enumerate(notebook["cells"], start=1):
        if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
            raise ValueError(f"its cell {position} has no cell_type")
        source = cell.get("source", "")
        lines = source if isinstance(source, list) else [source]
        if not all(isinstance(line, str) for line in lines):
            raise ValueError(f"the source of its cell {position} is not text")
        cell["source"] = "".join(lines).replace("\r\n", "\n")
        if not isinstance(cell.setdefault("metadata", {}), dict):
            raise ValueError(f"the metadata of its cell {position} is not a mapping")
        identity = cell.get("id")
        if not (isinstance(identity, str) and _VALID_ID.fullmatch(identity)):
            cell.pop("id", None)
    return notebook


def render_notebook(notebook: Notebook) -> bytes:
    """Return the notebook as the bytes of an ``.ipynb`` file: UTF-8, indented by one, line ends as on Linux."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", errors="backslashreplace")  # half a character is backslash-u in JSON, as it came


def cell_text(cell: Cell) -> Text:
    """Return what a person writes in a cell: its type, source and attached images; not what a run of it adds."""
    return cell["cell_type"], cell["source"], json.dumps(cell.get("attachments") or {}, sort_keys=True)


def name_cells(cells: list[Cell], known: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return ``cells`` in their order under keys: those of the ``known`` cells that they are, new ones for the rest.

    A cell is a known one if it has its id and its text; else if it has its text (editors drop ids,
    cutting and pasting changes them); else if it has its id (it was edited). Each known cell is
    found once: further copies of it are new cells.
    """
    keys: dict[int, str] = {}
    free = dict(known)

    def claim(position: int, key: str) -> None:
        keys[position] = key
        del free[key]

    for position, cell in enumerate(cells):
        key = cell.get("id")
        if key in free and cell_text(free[key]) == cell_text(cell):
            claim(position, key)
    by_text: dict[Text, list[str]] = defaultdict(list)
    for key, cell in free.items():
        by_text[cell_text(cell)].append(key)
    for position, cell in enumerate(cells):
        if position not in keys and by_text[cell_text(cell)]:
            claim(position, by_text[cell_text(cell)].pop(0))
    for position, cell in enumerate(cells):
        if position not in keys and cell.get("id") in free:
            claim(position, cell["id"])

    taken = set(known)
    for position, cell in enumerate(cells):
        if position not in keys:
            keys[position] = unused_id(cell.get("id") or "cell", taken)
            taken.add(keys[position])
    return {keys[position]: cell for position, cell in enumerate(cells)}


def unused_id(wanted: str, taken: set[str]) -> str:
    """Return ``wanted``, or the first of ``wanted-2``, ``wanted-3``, ... that is not ``taken``; at most 64 characters.

    Example:
        >>> unused_id("intro", {"intro", "intro-2"})
        'intro-3'
    """
    candidate, number = wanted[:64], 1
    while candidate in taken:
        number += 1
        candidate = f"{wanted[:56]}-{number}"
    return candidate


def headline(cell: Cell) -> str:
    r"""Return a cell's first line that says something, shortened, to name the cell by.

    Example:
        >>> headline({"source": "\n## Weight decay\nIt shrinks."})
        '"## Weight decay"'
    """
    line = next((line.strip() for line in cell["source"].split("\n") if line.strip()), "")
    return f'"{line[:47]}..."' if len(line) > 50 else f'"{line}"'
