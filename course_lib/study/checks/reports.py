"""Files that are made from others: the README's map, RESULTS.md, and results whose code has changed since."""

from __future__ import annotations

from pathlib import Path

from course_lib.notebook.results import render_results, stale
from course_lib.study.checks.complaint import Complaint
from course_lib.study.teaching.course_map import readme_with_map


def check_readme(root: Path) -> list[Complaint]:
    """Complain if the map in README.md is not the one that the notebooks' metadata give."""
    path = root / "README.md"
    if not path.is_file():
        return [_not_here("README.md")]
    text = path.read_text(encoding="utf-8")
    try:
        current = readme_with_map(text, root)
    except ValueError as error:
        return [Complaint("README.md", f"its map cannot be made ({error})", "Mend that first.")]
    if current == text:
        return []
    return [Complaint("README.md", "the map of the course is out of date", "Make it anew: course map --write.")]


def check_results_page(root: Path) -> list[Complaint]:
    """Complain if RESULTS.md is not what the stored results give."""
    path = root / "RESULTS.md"
    if not path.is_file():
        return [_not_here("RESULTS.md")]
    if path.read_text(encoding="utf-8") == render_results(root):
        return []
    return [Complaint("RESULTS.md", "it is out of date", "Make it anew: course results.")]


def check_stale(root: Path) -> list[Complaint]:
    """Note results whose code has changed since they were made."""
    what = "the code behind these results has changed since they were made"
    return [
        Complaint(f"results/{number}", what, f"Run them again when it matters: course results run {number}.", "note")
        for number in stale(root)
    ]


def _not_here(name: str) -> Complaint:
    """Return a note: a course inside a wheel has no pages beside its folders, only a checkout has."""
    return Complaint(name, "it is not in this copy of the course and was not checked", "Check a checkout.", "note")
