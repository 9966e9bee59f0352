"""The sections of a notebook, as a reader looks for them: heading, text, and the place to jump to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.study.copies.notebook_cells import Notebook, parse_notebook

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with the Markdown below it, up to the next heading of any level."""

    number: str
    level: int
    heading: str
    text: str
    cell_id: str

    @property
    def anchor(self) -> str:
        """What JupyterLab and links write after ``#``."""
        return self.heading.replace(" ", "-")


def read_notebook(path: Path) -> Notebook:
    """Return a notebook as plain data.

    Raises:
        ValueError: If the file is no notebook; names the file.
    """
    try:
        return parse_notebook(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Restore it from git.") from error


def course_metadata(notebook: Notebook) -> dict[str, Any]:
    """Return the ``course`` entry of a notebook's metadata, empty if it has none."""
    entry = notebook["metadata"].get("course")
    return entry if isinstance(entry, dict) else {}


def sections(path: Path) -> list[Section]:
    """Return the sections of a notebook, down the page; what stands before the first heading belongs to none.

    Raises:
        ValueError: If the file is no notebook.
    """
    found: list[tuple[int, str, str, list[str]]] = []
    for cell in read_notebook(path)["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        fence = ""
        for line in cell["source"].split("\n"):
            mark = _FENCE.match(line)
            if mark:
                fence = "" if mark[1] == fence else fence or mark[1]
            heading = None if fence else _HEADING.fullmatch(line)
            if heading:
                found.append((len(heading[1]), _plain(heading[2]), cell.get("id", ""), []))
            elif found:
                found[-1][3].append(line)
        if found:
            found[-1][3].append("")
    return [
        Section(path.name[:2], level, heading, "\n".join(lines).strip(), cell_id)
        for level, heading, cell_id, lines in found
    ]


def find_section(path: Path, wanted: str) -> Section:
    """Return the section that ``wanted`` names: its anchor, or words of its heading, in any case.

    Raises:
        ValueError: If there is none; the message lists the headings.
    """
    found = sections(path)
    words = wanted.replace("-", " ").casefold().split()
    for section in found:
        if section.anchor == wanted:
            return section
    for section in found:
        if all(word in section.heading.replace("-", " ").casefold() for word in words):
            return section
    headings = "; ".join(section.heading for section in found if section.level > 1) or "none"
    raise ValueError(f"{path.stem} has no section {wanted!r}. Its sections: {headings}.")


def _plain(heading: str) -> str:
    """Return a heading's text as it is shown: without marks of emphasis or code, links by their text."""
    linked = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[*`]|\\(?=\W)", "", linked)
