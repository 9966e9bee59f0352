"""Links inside the course: every notebook, section, file and picture that a page points to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from course_lib.study.checks import markdown
from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Page

_NUMBERED = re.compile(r"\[(\d\d) ([^\]]+)\]\((\d\d_\w+\.ipynb)")  # [03 What to minimise](03_losses.ipynb


def check_links(page: Page, pages: dict[Path, Page]) -> list[Complaint]:
    """Complain about links that lead nowhere and pictures that cannot be seen or read.

    Args:
        page: The notebook.
        pages: Every written notebook by its resolved path, for the sections that links name.
    """
    complaints = []
    for cell in page.prose:
        for target in markdown.links(cell.source):
            if fault := _link_fault(target, page, pages):
                complaints.append(page.complaint(f"the link to {target!r} {fault}", "Correct it.", cell=cell))
        for number, name, file in _NUMBERED.findall(cell.source):
            title = next((other.course.get("title") for path, other in pages.items() if path.name == file), name)
            if name != title:
                what = f"the link to notebook {number} calls it {name!r}"
                complaints.append(page.complaint(what, f"Its title is {title!r}.", cell=cell))
        for target, alternative in markdown.images(cell.source):
            for fault in _image_faults(target, alternative, page):
                complaints.append(page.complaint(f"the picture {target[:60]!r} {fault}", "Correct it.", cell=cell))
    return complaints


def anchors(page: Page) -> set[str]:
    """Return what a link may name after ``#``: JupyterLab's form of each heading, and the form of web pages."""
    texts = [heading.text for heading in page.headings]
    return {text.replace(" ", "-") for text in texts} | {web_anchor(text) for text in texts}


def web_anchor(text: str) -> str:
    """Return what web pages call a heading, or what JupyterLab calls it, as web pages do.

    Example:
        >>> web_anchor("3. The loop: a first look"), web_anchor("3.-The-loop:-a-first-look")
        ('3-the-loop-a-first-look', '3-the-loop-a-first-look')
    """
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _link_fault(target: str, page: Page, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(target)
    if parts.scheme in ("http", "https"):
        return "leads to this machine" if parts.hostname in ("localhost", "127.0.0.1") else None
    if parts.scheme and parts.scheme != "mailto":
        return "has no address that a browser opens"
    if parts.scheme == "mailto":
        return None
    path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
    if parts.path.startswith("/") or not path.exists():
        return "leads nowhere"
    section = unquote(parts.fragment)
    if section and path in pages and section not in anchors(pages[path]):
        return f"names a section that {path.name} does not have"
    return None


def _image_faults(target: str, alternative: str, page: Page) -> Iterator[str]:
    if not alternative.strip():
        yield "has no text alternative"
    scheme, _, name = target.partition(":")
    attachments = {key for cell in page.prose for key in cell.raw.get("attachments", {})}
    if scheme == "attachment":
        if unquote(name) not in attachments:
            yield "is not attached"
    elif name:
        yield "is not part of the course, so that it is missing offline"
    elif not (page.path.parent / unquote(target)).exists():
        yield "is not there"
