"""A notebook as the checks read it: its cells with joined text, its headings, the calls that its code makes."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from course_lib.study.checks import markdown
from course_lib.study.checks.complaint import Complaint, Level


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; ``position`` counts from 1, as a reader counts down the page."""

    position: int
    kind: str
    source: str
    raw: dict[str, Any]

    @property
    def count(self) -> int | None:
        """The number in ``In [7]``, None if the cell was never run."""
        return self.raw.get("execution_count")

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The stored outputs, as they are in the file."""
        return self.raw.get("outputs") or []

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags in the cell's metadata."""
        return tuple(self.raw.get("metadata", {}).get("tags", ()))

    @property
    def label(self) -> str:
        """How a complaint names the cell: its place and its first line."""
        lines = [line for line in self.source.splitlines() if line.strip()]
        first = lines[0].strip()[:50] if lines else "empty"
        number = f" (In [{self.count}])" if self.count is not None else ""
        return f"cell {self.position}{number} {first!r}"

    def tree(self) -> ast.Module:
        """Parse the code; IPython's ``%magics`` and ``!commands`` become calls.

        Raises:
            SyntaxError: If it is no Python.
        """
        from IPython.core.inputtransformer2 import TransformerManager

        transformer = TransformerManager()  # type: ignore[no-untyped-call]
        return ast.parse(transformer.transform_cell(self.source))


@dataclass(frozen=True, slots=True)
class Heading:
    """A Markdown heading: the position of its cell, and its lines there (the first, and the one after it)."""

    level: int
    text: str
    position: int
    line: int
    stop: int


class Page:
    """A notebook file, read once; every check of it takes a ``Page`` and returns complaints."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.raw: dict[str, Any] = json.loads(text)
        self.number = path.name[:2]
        self.where = f"notebooks/{path.name}"
        self.cells = [
            Cell(position, raw["cell_type"], joined(raw.get("source")), raw)
            for position, raw in enumerate(self.raw["cells"], start=1)
        ]

    @classmethod
    def read(cls, path: Path) -> Page:
        """Read a notebook.

        Raises:
            ValueError: If the file is no notebook; the message says what to do.
        """
        try:
            return cls(path, path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ValueError(f"notebooks/{path.name} is no readable notebook ({error!r}): restore it.") from error

    @property
    def course(self) -> dict[str, Any]:
        """The ``course`` entry of the notebook's metadata, empty if it has none."""
        entry = self.raw.get("metadata", {}).get("course")
        return entry if isinstance(entry, dict) else {}

    @cached_property
    def code(self) -> list[Cell]:
        """The code cells."""
        return [cell for cell in self.cells if cell.kind == "code"]

    @cached_property
    def prose(self) -> list[Cell]:
        """The Markdown cells."""
        return [cell for cell in self.cells if cell.kind == "markdown"]

    @cached_property
    def headings(self) -> list[Heading]:
        """All headings, down the page."""
        return [
            Heading(level, text, cell.position, line, stop)
            for cell in self.prose
            for level, text, line, stop in markdown.headings(cell.source)
        ]

    @cached_property
    def calls(self) -> list[tuple[str, str]]:
        """Every call whose first argument is written out as text: ``("claim", "01.gap-slope")``."""
        return [call for cell in self.code for call in _calls(cell)]

    def called(self, name: str) -> list[str]:
        """Return the first arguments of all calls of ``name``, each once."""
        return list(dict.fromkeys(argument for called, argument in self.calls if called == name))

    def extent(self, heading: Heading) -> tuple[int, Heading | None]:
        """Return the position of the last cell of a heading's section, and the heading that ends it."""
        later = self.headings[self.headings.index(heading) + 1 :]
        following = next((other for other in later if other.level <= heading.level), None)
        if following is None:
            return len(self.cells), None
        return following.position - (following.line == 0), following

    def section(self, heading: Heading) -> str:
        """Return the Markdown from ``heading`` to the next one of its level or above, without the two."""
        last, following = self.extent(heading)
        parts = []
        for cell in self.prose:
            if heading.position <= cell.position <= last:
                lines = cell.source.splitlines()
                start = heading.stop if cell.position == heading.position else 0
                stop = following.line if following and cell.position == following.position else len(lines)
                parts.append("\n".join(lines[start:stop]))
        return "\n\n".join(parts)

    def complaint(self, what: str, cure: str, *, cell: Cell | None = None, level: Level = "error") -> Complaint:
        """Return a complaint about this notebook, or about one of its cells."""
        where = self.where if cell is None else f"{self.where}, {cell.label}"
        return Complaint(where, what, cure, level)


def joined(value: Any) -> str:
    """Return a notebook's multi-line text, stored as a string or as a list of lines, as one string."""
    return "".join(value) if isinstance(value, list) else str(value or "")


def _calls(cell: Cell) -> Iterator[tuple[str, str]]:
    try:
        tree = cell.tree()
    except SyntaxError:
        return  # the check of imports complains about it
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield name, first.value
