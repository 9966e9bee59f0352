"""A notebook and what belongs to it: its quiz and cards, its exercises, its claims, each named on both sides."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Page
from course_lib.study.exercises.model import Exercise


def check_study_calls(page: Page) -> list[Complaint]:
    """Complain unless the page shows its own quiz and its own cards, and no others."""
    complaints = []
    for name, folder in (("quiz", "quizzes"), ("cards", "flashcards")):
        called = page.called(name)
        if page.number not in called:
            cure = f'Call {name}("{page.number}") under "Quiz and cards".'
            complaints.append(page.complaint(f"it does not show its {folder}", cure))
        for other in called:
            if re.fullmatch(r"\d\d", other) and other != page.number:
                cure = f"Show {page.number}'s, and link to notebook {other}."
                complaints.append(page.complaint(f'it calls {name}("{other}")', cure))
    return complaints


def check_exercise_calls(page: Page, exercises: Collection[Exercise]) -> list[Complaint]:
    """Complain about exercises of ``exercises/`` that the page leaves out, and about ones that are not there."""
    code = "\n".join(cell.source for cell in page.code)
    checked = [name for name in page.called("check") if re.fullmatch(r"\d\d\.\d+", name)]
    complaints = []
    for exercise in exercises:
        name = exercise.solution.__name__
        if exercise.id not in checked:
            what = f"exercise {exercise.id} is not checked in the page"
            complaints.append(page.complaint(what, f'Add a stub and check("{exercise.id}", {name}).'))
        if not re.search(rf"\bdef {name}\(", code):
            what = f"exercise {exercise.id} has no stub of {name}"
            complaints.append(page.complaint(what, "Add its signature, docstring and '...'."))
        for call in ("hint", "solution"):
            if not re.search(rf"""{call}\(["']{re.escape(exercise.id)}["']""", code):
                cure = f'Show {call}("{exercise.id}"), behind # so that it does not run by itself.'
                complaints.append(page.complaint(f"exercise {exercise.id} offers no {call}", cure))
    for unknown in sorted(set(checked) - {exercise.id for exercise in exercises}):
        cure = f"Add it to exercises/{page.path.stem}.py, or remove the call."
        complaints.append(page.complaint(f'check("{unknown}", ...) has no exercise', cure))
    return complaints


def check_claims(page: Page, root: Path) -> list[Complaint]:
    """Complain about claims without stored results, and about stored results that nothing claims."""
    stored = stored_claims(root, page.path.stem)
    claimed = page.called("claim")
    complaints = []
    for name in claimed:
        if name not in stored:
            what = f'claim("{name}", ...) has no result in results/{page.path.stem}.json'
            complaints.append(page.complaint(what, f"Store it: course results run {page.number}."))
    for name in sorted(set(stored) - set(claimed)):
        what = f"results/{page.path.stem}.json holds {name}, which the notebook does not claim"
        complaints.append(page.complaint(what, f'Call claim("{name}", ...), or drop it from the results.'))
    return complaints


def stored_claims(root: Path, stem: str) -> list[str]:
    """Return the names of the claims in ``results/<stem>.json``, such as ``"01.gap-slope"``; none without that file."""
    path = root / "results" / f"{stem}.json"
    if not path.is_file():
        return []
    stored = json.loads(path.read_text(encoding="utf-8"))
    return [f"{stored['notebook']}.{name}" for name in stored["claims"]]


def check_strays(root: Path, written: Collection[str]) -> list[Complaint]:
    """Complain about cards, questions, exercises and results of notebooks that are not written."""
    complaints = []
    for folder in ("flashcards", "quizzes", "exercises", "results"):
        for path in sorted((root / folder).glob("[0-9][0-9]_*")):
            if path.stem not in written:
                what = f"there is no notebooks/{path.stem}.ipynb"
                cure = "Write the notebook, or rename or remove this file."
                complaints.append(Complaint(f"{folder}/{path.name}", what, cure))
    return complaints
