"""The study tools: cards, quizzes and exercises for notebooks and the terminal; a notebook imports them from here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_lib.study.exercises import check, hint, solution
    from course_lib.study.widgets.page import cards, quiz

__all__ = ["cards", "check", "hint", "quiz", "solution"]

_HOME = {
    "cards": "course_lib.study.widgets.page",
    "check": "course_lib.study.exercises",
    "hint": "course_lib.study.exercises",
    "quiz": "course_lib.study.widgets.page",
    "solution": "course_lib.study.exercises",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for at its first use: a terminal command needs no widgets, a widget no exercises."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)
