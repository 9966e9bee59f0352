"""What teachers need to plan with: the notebooks of a path in order, with minutes and prerequisites."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from course_lib.content import course_root, notebook_paths
from course_lib.study.material.deck import load_plan
from course_lib.study.teaching.sections import course_metadata, read_notebook, sections


@dataclass(frozen=True, slots=True)
class Entry:
    """One notebook of a syllabus; times are ``None`` and ``needs`` is empty while it is not written."""

    number: str
    title: str
    outcome: str
    written: bool
    reading_minutes: int | None
    compute_seconds: int | None
    needs: tuple[str, ...]


def syllabus(path: str, root: Path | None = None) -> list[Entry]:
    """Return the notebooks of a path, such as ``"vision"``, in reading order.

    Raises:
        ValueError: If there is no such path; the message lists those there are.
    """
    root = root or course_root()
    paths = load_plan(root).paths
    if path not in paths:
        raise ValueError(f"there is no path {path!r} through the course. There are: {', '.join(paths)}.")
    entries = {entry.number: entry for entry in all_entries(root)}
    return [entries[number] for number in paths[path]]


def all_entries(root: Path | None = None) -> list[Entry]:
    """Return every notebook of the course, written or planned, in order."""
    root = root or course_root()
    written = notebook_paths(root)
    entries = []
    for planned in load_plan(root).notebooks:
        path = written.get(planned.number)
        course = course_metadata(read_notebook(path)) if path else {}
        entries.append(
            Entry(
                number=planned.number,
                title=course.get("title", planned.title),
                outcome=course.get("outcome", planned.outcome),
                written=path is not None,
                reading_minutes=course.get("reading_minutes"),
                compute_seconds=course.get("compute_seconds"),
                needs=tuple(course.get("needs", ())),
            )
        )
    return entries


def in_short(root: Path | None = None) -> dict[str, str]:
    """Return the "In short" box of every written notebook, as Markdown, by ``"00 Title"``.

    Raises:
        ValueError: If a notebook cannot be read, or has no such section.
    """
    root = root or course_root()
    titles = {entry.number: entry.title for entry in all_entries(root)}
    boxes = {}
    for number, path in notebook_paths(root).items():
        box = next((found.text for found in sections(path) if "in short" in found.heading.casefold()), None)
        if box is None:
            raise ValueError(f'{path.name} has no section "In short": add it before "Read next".')
        boxes[f"{number} {titles.get(number, path.stem)}"] = box
    return boxes
