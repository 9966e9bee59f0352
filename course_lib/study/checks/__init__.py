"""The course's check of itself: everything that can be told without running a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from course_lib.content import course_root, notebook_paths
from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.concepts import check_concepts
from course_lib.study.checks.decks import check_deck, check_quiz, check_stored
from course_lib.study.checks.episodes import check_episodes
from course_lib.study.checks.exercises import check_exercises
from course_lib.study.checks.imports import allowed_imports, check_imports
from course_lib.study.checks.links import check_links
from course_lib.study.checks.metadata import check_form, check_metadata
from course_lib.study.checks.outputs import check_outputs
from course_lib.study.checks.page import Page
from course_lib.study.checks.reports import check_readme, check_results_page, check_stale
from course_lib.study.checks.shape import check_shape
from course_lib.study.checks.tags import check_tags
from course_lib.study.checks.ties import check_claims, check_exercise_calls, check_strays, check_study_calls
from course_lib.study.exercises import load_exercises
from course_lib.study.material.deck import content_problems, load_deck, load_glossary, load_plan, load_quiz
from course_lib.study.material.yaml_files import ContentError

__all__ = ["Complaint", "Page", "run_checks"]

_Loaded = TypeVar("_Loaded")


def run_checks(root: Path | None = None) -> list[Complaint]:
    """Check the whole course and return what is to be mended; no notebook is run.

    What cannot be read is complained about once, and what depends on it is not checked.

    Args:
        root: The course folder; found by ``course_root`` if left out.
    """
    root = root or course_root()
    complaints = list(_unreadable_content(root))
    pages: dict[Path, Page] = {}
    for path in notebook_paths(root).values():
        try:
            pages[path.resolve()] = Page.read(path)
        except ValueError as error:
            complaints.append(Complaint(f"notebooks/{path.name}", str(error), "Restore it from git."))
    plan, allowed = _loaded(load_plan, root), allowed_imports(root)
    metadata = [complaint for page in pages.values() if plan for complaint in check_metadata(page, plan)]
    for page in pages.values():
        found = [*check_outputs(page), *check_shape(page), *check_imports(page, allowed), *check_links(page, pages)]
        found += [*check_tags(page), *check_study_calls(page), *check_claims(page, root), *_check_content(root, page)]
        complaints += found
        if all(complaint.level == "note" for complaint in found):  # what is wrong is mostly in the wrong form too
            complaints += check_form(page)
    if plan and not metadata:
        complaints += check_readme(root)
    complaints += [*metadata, *check_strays(root, [path.stem for path in pages])]
    return [*complaints, *check_episodes(root), *check_results_page(root), *check_stale(root)]


def _check_content(root: Path, page: Page) -> Iterator[Complaint]:
    """Check a notebook together with its cards, questions and exercises."""
    glossary = _loaded(load_glossary, root)
    concepts = glossary.by_id() if glossary else {}
    stem = page.path.stem
    for folder in ("flashcards", "quizzes"):
        if not (root / folder / f"{stem}.yaml").is_file():
            yield page.complaint(f"it has no {folder}/{stem}.yaml", "Write it.")
    deck, quiz = _loaded(load_deck, page.number, root), _loaded(load_quiz, page.number, root)
    if deck:
        yield from check_deck(deck, f"flashcards/{stem}.yaml", concepts)
    if quiz:
        yield from check_quiz(quiz, f"quizzes/{stem}.yaml", concepts)
    yield from check_stored(page, deck, quiz)
    home = [concept for concept in concepts.values() if concept.home == page.number]
    yield from check_concepts(page, home, deck, quiz)
    path = root / "exercises" / f"{stem}.py"
    try:
        exercises = load_exercises(path) if path.is_file() else ()
    except Exception as error:  # it is code that people write: whatever it raises is told, not thrown
        yield Complaint(f"exercises/{path.name}", f"it cannot be loaded ({error!r})", "Mend it.")
        return
    yield from check_exercises(exercises, f"exercises/{path.name}")
    yield from check_exercise_calls(page, exercises)


def _unreadable_content(root: Path) -> Iterator[Complaint]:
    for problem in content_problems(root):
        what, _, cure = problem.text.rpartition("; ")
        yield Complaint(f"{problem.file}:{problem.line}", what or cure, f"{cure[:1].upper()}{cure[1:]}.")


def _loaded(load: Callable[..., _Loaded], *arguments: str | Path) -> _Loaded | None:
    """Load a content file, or return None for one that ``content_problems`` or a missing file accounts for."""
    try:
        return load(*arguments)
    except (ContentError, FileNotFoundError):
        return None
