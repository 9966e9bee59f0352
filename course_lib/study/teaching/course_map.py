"""The map of the course: a table of its notebooks, made from their metadata, for the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from course_lib.content import course_root, notebook_paths
from course_lib.study.material.deck import load_plan
from course_lib.study.material.schema import PlannedNotebook

BEGIN, END = "<!-- map:begin -->", "<!-- map:end -->"


def render_map(root: Path | None = None) -> str:
    """Return the notebooks as Markdown, a table for each part of the course.

    A written notebook shows what its own metadata say and links to its page; the others come from
    ``notebooks/plan.yaml`` and are marked as planned.

    Args:
        root: The course folder; found by ``course_root`` if left out.

    Raises:
        ContentError: If ``notebooks/plan.yaml`` has problems.
        ValueError: If a notebook's metadata lack what the map shows.
    """
    root = root or course_root()
    plan, written = load_plan(root), notebook_paths(root)
    blocks = []
    for part, name in plan.parts.items():
        rows = [_row(notebook, written.get(notebook.number)) for notebook in plan.notebooks if notebook.part == part]
        if rows:
            head = "| | notebook | you will be able to | reading | compute |\n| --- | --- | --- | --- | --- |"
            blocks.append("\n".join([f"**{part}. {name}**", "", head, *rows]))
    return "\n\n".join(blocks) + "\n"


def readme_with_map(text: str, root: Path | None = None) -> str:
    """Return a README's text with the map between its two marks made anew.

    Raises:
        ValueError: If the marks are missing, or stand in the wrong order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the marks {BEGIN} and {END} of the map are missing.")
    return f"{before}{BEGIN}\n\n{render_map(root)}\n{END}{after}"


def update_readme(root: Path | None = None) -> bool:
    """Write the map into README.md anew.

    Returns:
        Whether anything changed.
    """
    path = (root or course_root()) / "README.md"
    text = path.read_text(encoding="utf-8")
    current = readme_with_map(text, root)
    if current != text:
        path.write_text(current, encoding="utf-8")
    return current != text


def _row(planned: PlannedNotebook, path: Path | None) -> str:
    if path is None:
        return f"| {planned.number} | {_cell(planned.title)} | {_cell(planned.outcome)} | planned | |"
    course = _metadata(path)
    title = f"[{_cell(course['title'])}](notebooks/{path.name})"
    times = f"{course['reading_minutes']} min | {course['compute_seconds']} s"
    return f"| {course['number']} | {title} | {_cell(course['outcome'])} | {times} |"


def _metadata(path: Path) -> dict[str, Any]:
    course = json.loads(path.read_text(encoding="utf-8")).get("metadata", {}).get("course", {})
    missing = [
        key for key in ("number", "title", "outcome", "reading_minutes", "compute_seconds") if not course.get(key)
    ]
    if missing:
        raise ValueError(f"notebooks/{path.name} lacks {', '.join(missing)} in metadata.course: add it.")
    return dict(course)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ").strip()
