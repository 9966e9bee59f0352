"""A notebook as a page of the website: live quiz and cards, hints to unfold, alternatives of figures, links."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from course_lib.study.checks.links import web_anchor
from course_lib.study.copies.notebook_cells import Cell, Notebook
from course_lib.study.exercises import Exercise
from course_lib.study.teaching.sections import read_notebook

_STUDY_CALLS = re.compile(r"^(?:quiz|cards)\(", re.MULTILINE)
_CHECK_CALL = re.compile(r"^check\(\"(\d\d\.\d+)\"", re.MULTILINE)
_NOTEBOOK_LINK = re.compile(r"\[([^\]]*)\]\((\d\d_\w+\.ipynb)(?:#([^)\s]*))?\)")
_FENCE = "`" * 12


@dataclass(frozen=True, slots=True)
class Extras:
    """What the website adds to a notebook.

    ``quiz`` and ``cards`` are panels of HTML, ``exercises`` come by their ids, ``intro`` is Markdown below the title.
    """

    quiz: str
    cards: str
    exercises: Mapping[str, Exercise]
    intro: str


def notebook_page(path: Path, extras: Extras, on_site: Collection[str]) -> Notebook:
    """Return a notebook ready to be built into a page; its stored outputs stay as they are.

    Args:
        path: The course's notebook.
        extras: What to add.
        on_site: The stems of the notebooks that have a page; links to others become plain text.

    Raises:
        ValueError: If the file is no notebook.
    """
    notebook = read_notebook(path)
    cells: list[Cell] = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cells.append(cell | {"source": with_site_links(cell["source"], on_site)})
            if len(cells) == 1 and extras.intro:
                cells.append(_markdown(extras.intro))
        elif _STUDY_CALLS.search(cell["source"]):
            cells.append(_markdown(f"{raw_html(extras.quiz)}\n\n{raw_html(extras.cards)}"))
        else:
            cells.append(_with_alternative(cell))
            cells += [_help(extras.exercises[name]) for name in _CHECK_CALL.findall(cell["source"])]
    for cell in cells:
        cell.pop("id", None)  # the pages that are added have none, and a notebook has all or none
    return notebook | {"cells": cells, "nbformat_minor": 4}


def with_site_links(source: str, on_site: Collection[str]) -> str:
    """Return Markdown whose links to other notebooks lead to their pages, sections named as web pages name them.

    Example:
        >>> with_site_links("[05](05_loop.ipynb#3.-The-loop) after [04](04_walk.ipynb)", {"05_loop"})
        '[05](05_loop.ipynb#3-the-loop) after 04'
    """

    def link(match: re.Match[str]) -> str:
        text, target, section = match.groups()
        if target.removesuffix(".ipynb") not in on_site:
            return text
        return f"[{text}]({target}{'#' + web_anchor(unquote(section)) if section else ''})"

    return _NOTEBOOK_LINK.sub(link, source)


def raw_html(html: str) -> str:
    """Return HTML as it stands in a page's Markdown."""
    return f"{_FENCE}{{raw}} html\n{html}\n{_FENCE}"


def _markdown(source: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _with_alternative(cell: Cell) -> Cell:
    """Return a code cell whose figure says what it shows to those who do not see it: its ``text/plain`` output."""
    for output in cell.get("outputs", []):
        data: dict[str, Any] = output.get("data", {})
        if "image/png" in data:
            alternative = " ".join("".join(data.get("text/plain", "")).split())
            return cell | {"metadata": cell["metadata"] | {"mystnb": {"image": {"alt": alternative}}}}
    return cell


def _help(exercise: Exercise) -> Cell:
    """Return an exercise's hints and its solution, each folded away; ``check`` itself needs Python."""
    code = textwrap.dedent(inspect.getsource(exercise.solution)).rstrip()
    parts = [
        *[(f"Hint {number} of {len(exercise.hints)}", text) for number, text in enumerate(exercise.hints, start=1)],
        ("A solution", f"```python\n{code}\n```"),
    ]
    folded = "\n\n".join(
        f"{raw_html(f'<details><summary>{title}</summary>')}\n\n{text}\n\n{raw_html('</details>')}"
        for title, text in parts
    )
    note = f"*`check` runs in JupyterLab: `course open {exercise.id[:2]}`.*"
    return _markdown(f"{note}\n\n{folded}")
