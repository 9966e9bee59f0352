"""Show a question's choices in a fixed shuffled order, and judge what a learner typed or chose."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from course_lib.study.material.schema import (
    Choice,
    ChoiceQuestion,
    MultipleQuestion,
    NumericQuestion,
    OrderingQuestion,
    OutputChoice,
    Question,
)

_Item = TypeVar("_Item")
LETTERS = "ABCDEFGH"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer is right, and what to tell the learner (Markdown with maths)."""

    right: bool
    feedback: str


def shuffled_choices(question: ChoiceQuestion) -> dict[str, Choice | OutputChoice]:
    """Return the choices by the letter they are shown under, ``{"A": ..., "B": ...}``, in the order shown.

    The order depends on the question's id alone, so it is the same in the notebook, in the
    terminal and in the static page, on every machine.
    """
    return dict(zip(LETTERS, shuffled(question.choices, question.id), strict=False))


def shuffled_items(question: OrderingQuestion) -> dict[str, str]:
    """Return the items of an ordering question by their letters, in the order shown, which is never the right one."""
    shown = shuffled(question.items, question.id)
    if shown == list(question.items):
        shown = [*shown[1:], shown[0]]
    return dict(zip(LETTERS, shown, strict=False))


def shuffled(items: Sequence[_Item], seed: str) -> list[_Item]:
    """Return ``items`` in an order that depends on ``seed`` and on nothing else.

    Example:
        >>> shuffled(["a", "b", "c"], "00-q-leak") == shuffled(["a", "b", "c"], "00-q-leak")
        True
    """
    keys = [hashlib.sha256(f"{seed}/{index}".encode()).digest() for index in range(len(items))]
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


def right_answer(question: Question) -> str:
    """Return the right answer as a learner would type it, such as ``"B"``, ``"A C"`` or ``"0.5 s"``."""
    if isinstance(question, NumericQuestion):
        return f"{question.answer:.12g} {question.unit}".strip()
    if isinstance(question, OrderingQuestion):
        letter_of = {item: letter for letter, item in shuffled_items(question).items()}
        return " ".join(letter_of[item] for item in question.items)
    return " ".join(letter for letter, choice in shuffled_choices(question).items() if choice.right)


def grade(question: Question, answer: str) -> Verdict:
    """Judge an answer.

    Args:
        question: What was asked.
        answer: What was typed: the letter of a choice (``"B"``), the letters of all that are right (``"A C"``), a
            number, its unit optional (``"1e-3"``, ``"12 ms"``), or all letters in order (``"C A B"``).

    Returns:
        The verdict. Its feedback gives the reason of every chosen wrong choice, of every right one that was missed, and
        for an ordering the first place that is wrong.

    Raises:
        ValueError: If the answer cannot be read; nothing should be recorded then.
    """
    if isinstance(question, NumericQuestion):
        return _grade_number(question, answer)
    if isinstance(question, OrderingQuestion):
        return _grade_order(question, answer)
    return _grade_choices(question, answer)


def parse_number(text: str, *, unit: str = "") -> float:
    """Read a number with a decimal point or as a fraction, followed or not by ``unit``.

    Raises:
        ValueError: If it is no finite number, has a comma, or another unit.

    Example:
        >>> parse_number("1e-3 s", unit="s"), parse_number("1/4")
        (0.001, 0.25)
    """
    cleaned = text.strip().replace("\N{MINUS SIGN}", "-")
    if "," in cleaned:
        raise ValueError(
            f"{text.strip()!r} has a comma: write a decimal point, as in 0.5, and nothing between thousands."
        )
    number = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    match = re.fullmatch(rf"({number})(?:\s*/\s*({number}))?\s*(.*)", cleaned)
    if match is None:
        raise ValueError(f"expected a number such as 12, 0.5, 1e-3 or 1/4, got {text.strip()!r}.")
    numerator, denominator, rest = match.groups()
    if rest and "".join(rest.split()) != "".join(unit.split()):
        asked = f"in {unit}" if unit else "without a unit"
        raise ValueError(f"the answer is asked {asked}, got {rest!r} after the number.")
    if denominator is not None and float(denominator) == 0:
        raise ValueError(f"{text.strip()!r} divides by zero.")
    value = float(numerator) / float(denominator or 1)
    if not math.isfinite(value):
        raise ValueError(f"{text.strip()!r} is too large to be a number here.")
    return value


def _letters(answer: str, known: Sequence[str]) -> list[str]:
    letters = re.findall(r"[^\s,;.()>-]", answer.upper())
    unknown = [letter for letter in letters if letter not in known]
    if unknown or not letters or len(set(letters)) < len(letters):
        expected = f"letters from {known[0]} to {known[-1]}, each at most once"
        raise ValueError(f"expected {expected}, got {answer.strip()!r}.")
    return letters


def _grade_choices(question: ChoiceQuestion, answer: str) -> Verdict:
    choices = shuffled_choices(question)
    chosen = _letters(answer, list(choices))
    several = isinstance(question, MultipleQuestion)
    if len(chosen) > 1 and not several:
        raise ValueError(f"this question has one right answer: choose one letter, got {' '.join(chosen)}.")
    right = {letter for letter, choice in choices.items() if choice.right}
    lines = [
        f"**{letter}** is {'right' if choice.right else 'not right'}: {choice.why}"
        for letter, choice in choices.items()
        if letter in chosen
    ]
    if set(chosen) == right:
        return Verdict(
            True, "\n\n".join(["**Right.**", *lines] if several else [f"**Right.** {choices[chosen[0]].why}"])
        )
    missed = [letter for letter in choices if letter in right and letter not in chosen]
    told = "was missed" if several else "is right"
    lines += [f"**{letter}** {told}: {choices[letter].why}" for letter in missed]
    return Verdict(False, "\n\n".join(["**Not quite.**", *lines]))


def _grade_number(question: NumericQuestion, answer: str) -> Verdict:
    value = parse_number(answer, unit=question.unit)
    slack = 1e-9 * max(abs(question.answer), question.tolerance)  # an answer on the edge is inside despite rounding
    right = abs(value - question.answer) <= question.tolerance + slack
    opening = "**Right.**" if right else f"**Not quite.** The answer is {right_answer(question)}."
    return Verdict(right, f"{opening}\n\n{question.explain}")


def _grade_order(question: OrderingQuestion, answer: str) -> Verdict:
    items = shuffled_items(question)
    given = _letters(answer, list(items))
    if len(given) < len(items):
        raise ValueError(f"put all {len(items)} letters in order, got {len(given)}: {' '.join(given)}.")
    expected = right_answer(question).split()
    if given == expected:
        return Verdict(True, f"**Right.**\n\n{question.explain}")
    place = next(index for index, (got, want) in enumerate(zip(given, expected, strict=True)) if got != want)
    text = f"The first wrong place is number {place + 1}: you put {given[place]}, {expected[place]} belongs there."
    return Verdict(False, f"**Not quite.** {text} The right order is {' '.join(expected)}.\n\n{question.explain}")
