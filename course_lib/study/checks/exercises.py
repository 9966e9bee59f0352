"""What an exercise must bring along; whether its check tells right from wrong is proved by the tests, which run it."""

from __future__ import annotations

from collections.abc import Sequence

from course_lib.study.checks.complaint import Complaint
from course_lib.study.exercises.model import Exercise

MIN_HINTS, MIN_WRONG = 2, 3


def check_exercises(exercises: Sequence[Exercise], file: str) -> list[Complaint]:
    """Complain about ids with gaps, too few hints, missing docstrings, and fewer than three known wrong answers."""
    complaints = []
    for number, exercise in enumerate(exercises, start=1):
        where, expected = f"{file}, {exercise.id}", f"{file.partition('/')[2][:2]}.{number}"
        if exercise.id != expected:
            cure = "Number the exercises in their order; learners' progress goes by the number."
            complaints.append(Complaint(where, f"exercise {number} has the id {exercise.id!r}, not {expected!r}", cure))
        if len(exercise.hints) < MIN_HINTS:
            what = f"{len(exercise.hints)} hints; an exercise has {MIN_HINTS} or more"
            complaints.append(Complaint(where, what, "Go from a gentle push to nearly the solution."))
        if not exercise.solution.__doc__:
            complaints.append(Complaint(where, "the solution has no docstring", "Say there what the learner writes."))
        if len(exercise.wrong) < MIN_WRONG:
            what = f"{len(exercise.wrong)} wrong answers; an exercise has {MIN_WRONG} or more"
            complaints.append(Complaint(where, what, "Add mistakes that people really make, each under its name."))
    return complaints
