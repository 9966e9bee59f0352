"""Three-way merge of notebooks: what the learner wrote and what the course changed, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from course_lib.study.copies.notebook_cells import Cell, Notebook, cell_text, headline, name_cells, unused_id

CONFLICT_NOTE = (
    "**Two versions of one cell.** You changed this cell, and so did the course. The next cell is the course's new "
    "version; the one after it is yours, which runs last and so counts. Keep what you want of the two, then delete "
    "the other and this note."
)


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged notebook, and where both sides had a say in a cell: one note each, saying what became of it."""

    notebook: Notebook
    notes: tuple[str, ...]


def merge_notebooks(base: Notebook, ours: Notebook, theirs: Notebook) -> Merged:
    """Bring the course's changes from ``base`` to ``theirs`` into ``ours``, losing nothing that was written.

    What only one side changed, that side decides: text, metadata, order, new and deleted cells.
    Where both changed a cell in different lines, the lines are merged; in the same or adjacent
    lines, both cells stay, the course's above the learner's, under a note. A cell that one side
    changed and the other deleted stays. Outputs go with the text that they came from: the
    learner's where the text is theirs or they have run it, else the course's, and none for a
    text made of both.

    Args:
        base: The course's version that ``ours`` was made from, from ``parse_notebook`` as the others.
        ours: The learner's copy.
        theirs: The course's new version.

    Returns:
        The merged notebook. If one side is ``base``, the other side comes out.
    """
    base_cells = name_cells(base["cells"], {})
    their_cells = name_cells(theirs["cells"], base_cells)
    our_cells = name_cells(ours["cells"], {**their_cells, **base_cells})

    notes = []
    merged: dict[str, list[Cell]] = {}
    for key in dict.fromkeys([*our_cells, *their_cells]):
        sides = base_cells.get(key), our_cells.get(key), their_cells.get(key)
        cells = _merge_cell(*sides)
        if cells:
            merged[key] = cells
            notes += [f"{headline(cells[-1])}: {note}" for note in _notes_on(*sides, cells)]
    order = merge_order(base_cells, our_cells, their_cells, keep=merged)
    notebook = {
        "cells": _with_ids({key: merged[key] for key in order}, their_cells),
        "metadata": _merge_mapping(base["metadata"], ours["metadata"], theirs["metadata"]),
        "nbformat": 4,
        "nbformat_minor": max(5, ours.get("nbformat_minor", 5), theirs.get("nbformat_minor", 5)),
    }
    return Merged(notebook, tuple(notes))


def merge_order(base: Iterable[str], ours: Iterable[str], theirs: Iterable[str], *, keep: Iterable[str]) -> list[str]:
    """Return the keys to ``keep`` in the order of ``theirs``, what ``ours`` added or moved after what it follows there.

    Example:
        >>> "".join(merge_order(base="abcd", ours="abxcd", theirs="dabcy", keep="abcdxy"))
        'dabxcy'
    """
    base, ours, keep = list(base), list(ours), set(keep)
    blocks = SequenceMatcher(None, base, ours, autojunk=False).get_matching_blocks()
    in_place = {key for block in blocks for key in base[block.a : block.a + block.size]}
    moved = set(base).intersection(ours) - in_place
    order = [key for key in theirs if key in keep and key not in moved]
    placed, position = set(order), -1
    for key in ours:
        if key in placed:
            position = order.index(key)
        elif key in keep:
            position += 1
            order.insert(position, key)
    return order


def merge_lines(base: str, ours: str, theirs: str) -> str | None:
    r"""Return ``ours`` with the lines that ``theirs`` changed, or None where both changed the same or adjacent lines.

    Example:
        >>> merge_lines("a\nb\nc", "a\nb\nmine", "course\nb\nc")
        'course\nb\nmine'
        >>> merge_lines("a", "mine", "course") is None
        True
    """
    lines = base.split("\n")
    mine = _edits(lines, ours.split("\n"))
    course = [edit for edit in _edits(lines, theirs.split("\n")) if edit not in mine]
    if any(
        start <= end_of_mine and start_of_mine <= end
        for start_of_mine, end_of_mine, _ in mine
        for start, end, _ in course
    ):
        return None
    for start, end, new in sorted([*mine, *course], reverse=True):  # from the bottom up, so that numbers stay true
        lines[start:end] = new
    return "\n".join(lines)


def _edits(old: list[str], new: list[str]) -> list[tuple[int, int, list[str]]]:
    """Return what leads from ``old`` to ``new``: lines ``start`` to ``end`` (exclusive) become others."""
    opcodes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [(start, end, new[first:last]) for kind, start, end, first, last in opcodes if kind != "equal"]


def _merge_cell(base: Cell | None, ours: Cell | None, theirs: Cell | None) -> list[Cell]:
    """Return the cells that come of one: none if it goes, or a note, the course's and the learner's on a conflict."""
    if ours is None or theirs is None:
        left = ours or theirs
        return [] if left is None or (base and cell_text(left) == cell_text(base)) else [left]
    was, mine, course = cell_text(base) if base else None, cell_text(ours), cell_text(theirs)
    never_run = base is not None and ours.get("outputs") == base.get("outputs")
    if mine == was and (course != was or never_run):
        merged = dict(theirs)
    elif course in (was, mine):
        merged = dict(ours)
    else:
        one_type = ours["cell_type"] == theirs["cell_type"]
        source = merge_lines(base["source"], ours["source"], theirs["source"]) if base and one_type else None
        if source is None:
            name = theirs.get("id", "cell")
            note = {"cell_type": "markdown", "id": f"{name}-note", "metadata": {}, "source": CONFLICT_NOTE}
            return [note, {**theirs, "id": f"{name}-course"}, ours]
        merged = {**ours, "source": source}
        if "outputs" in merged:
            merged |= {"outputs": [], "execution_count": None}
    was_cell = base or {}
    merged["metadata"] = _merge_mapping(was_cell.get("metadata"), ours["metadata"], theirs["metadata"])
    attachments = _merge_mapping(was_cell.get("attachments"), ours.get("attachments"), theirs.get("attachments"))
    if attachments:
        merged["attachments"] = attachments
    return [merged]


def _notes_on(base: Cell | None, ours: Cell | None, theirs: Cell | None, merged: list[Cell]) -> list[str]:
    """Say what became of a cell in which both sides had a say; nothing where one had."""
    if len(merged) > 1:
        return ["you and the course changed the same lines; both versions are there, the course's above yours."]
    if base and theirs is None:
        return ["the course has dropped it; it is kept, since you changed it."]
    if base and ours is None:
        return ["you had deleted it; it is back, since the course has changed it."]
    if ours and theirs and merged[0]["source"] not in (ours["source"], theirs["source"]):
        return ["you and the course changed different lines; it has both, run it again."]
    return []


def _merge_mapping(
    base: Mapping[str, Any] | None, ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Merge key by key; the learner's value wins where both changed one."""
    base, ours, theirs = base or {}, ours or {}, theirs or {}
    missing = object()
    merged = {}
    for key in dict.fromkeys([*theirs, *ours]):
        mine = ours.get(key, missing)
        value = theirs.get(key, missing) if mine == base.get(key, missing) else mine
        if value is not missing:
            merged[key] = value
    return merged


def _with_ids(merged: Mapping[str, list[Cell]], their_cells: Mapping[str, Cell]) -> list[Cell]:
    """Return all cells with ids of their own: the course's id where it has the cell, so that it is found next time."""
    taken: set[str] = set()

    def new_id(wanted: str) -> str:
        taken.add(unused := unused_id(wanted, taken))
        return unused

    course_ids = {key: new_id(cell.get("id", key)) for key, cell in their_cells.items()}
    cells = []
    for key, group in merged.items():
        for cell in group:
            is_course_cell = cell is group[-1] and key in course_ids
            cells.append({**cell, "id": course_ids[key] if is_course_cell else new_id(cell.get("id", key))})
    return cells
