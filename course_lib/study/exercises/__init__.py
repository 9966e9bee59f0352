"""Exercises whose checks draw fresh inputs, explain what is wrong, and are proved to reject wrong answers."""

from course_lib.study.exercises.course import (
    TOLERANCE,
    Case,
    Exercise,
    Property,
    Verdict,
    all_exercises,
    check,
    find_exercise,
    hint,
    load_exercises,
    solution,
    stub_of,
)

__all__ = [
    "TOLERANCE",
    "Case",
    "Exercise",
    "Property",
    "Verdict",
    "all_exercises",
    "check",
    "find_exercise",
    "hint",
    "load_exercises",
    "solution",
    "stub_of",
]
