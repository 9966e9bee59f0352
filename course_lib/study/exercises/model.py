"""What an exercise is made of: its inputs, what holds for a right answer, hints, a solution and known wrong answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Function = Callable[..., Any]
Status = Literal["not attempted", "right", "wrong"]

# Relative and absolute tolerance of a result computed in each precision: room for sums in another order, and for
# a formula written in another way, but far below what a wrong formula changes. From the coarsest to the finest.
TOLERANCE: Mapping[str, tuple[float, float]] = {
    "bfloat16": (3e-2, 1e-2),
    "float16": (5e-3, 1e-3),
    "float32": (1e-4, 1e-5),
    "float64": (1e-9, 1e-12),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the learner's function.

    Args:
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        note: What is special about this input, shown with a counter-example ("no row at all").
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Property:
    """Something that must hold whatever the input is, beside or instead of equality with an oracle.

    Args:
        name: What a right answer does, from the verb on: "gives the same split for the same seed".
        complaint: Called with the function, the case and the function's result; returns what was seen instead, or
            None if all is well. It may call the function again, on other inputs; each call gets copies.
    """

    name: str
    complaint: Callable[[Function, Case, Any], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """A task with all that is needed to judge answers to it, without knowing any particular answer.

    Args:
        id: Notebook and number, such as ``"00.1"``.
        title: A few words.
        difficulty: From 1, a warm-up, to 5, a stretch.
        minutes: How long it takes someone who has read the notebook.
        solution: A right answer; a plain function of its module, with a docstring. Its source is what learners see.
        cases: Draws the arguments of one call from a generator: a `Case`, or just the tuple of arguments. Called many
            times by each check, so it should vary shapes, dtypes and values, and be small often.
        oracle: What is right: the formula as it is read, slow and plain. Its floating-point arguments come in float64.
            None if ``properties`` say it all.
        edge_cases: Inputs tried by every check besides the random ones.
        properties: What else must hold. That arguments are left alone is always checked, see ``may_modify_arguments``.
        hints: From a gentle push to nearly the solution; Markdown.
        wrong: At least three wrong answers that people really give, by name. They are there to prove the check;
            the check never looks at them.
        tolerance: ``{dtype: (relative, absolute)}`` where `TOLERANCE` does not fit.
        same_dtype: Whether a floating-point array must come back in the dtype of the floating-point arguments.
        may_modify_arguments: Whether working in place is part of the task.
        explain: Given the case, what was expected and what came, returns a line on what to look at, or None. It is
            asked when shapes and types agree; it speaks of what is seen (too large, off for ties), never of a guess.
        num_draws: How many random inputs a check draws.

    Raises:
        ValueError: If there is neither an oracle nor a property, or a number is out of its range.
    """

    id: str
    title: str
    difficulty: int
    minutes: int
    solution: Function
    cases: Callable[[np.random.Generator], Case | tuple[Any, ...]]
    oracle: Function | None = None
    edge_cases: tuple[Case, ...] = ()
    properties: tuple[Property, ...] = ()
    hints: tuple[str, ...] = ()
    wrong: Mapping[str, Function] = field(default_factory=dict)
    tolerance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    same_dtype: bool = True
    may_modify_arguments: bool = False
    explain: Callable[[Case, Any, Any], str | None] | None = None
    num_draws: int = 24

    def __post_init__(self) -> None:
        if self.oracle is None and not self.properties:
            raise ValueError(f"exercise {self.id} has no oracle and no properties: nothing tells right from wrong.")
        if not 1 <= self.difficulty <= 5:
            raise ValueError(f"exercise {self.id}: difficulty goes from 1 to 5, got {self.difficulty}.")
        if self.minutes < 1 or self.num_draws < 1:
            raise ValueError(
                f"exercise {self.id} needs minutes and num_draws of at least 1, got {self.minutes}, {self.num_draws}."
            )
        unknown = sorted(set(self.tolerance) - set(TOLERANCE))
        if unknown:
            raise ValueError(f"exercise {self.id}: tolerance is for {', '.join(TOLERANCE)}; got {', '.join(unknown)}.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. ``reason`` is one paragraph, with a counter-example where the answer is wrong."""

    exercise_id: str
    status: Status
    reason: str

    def __str__(self) -> str:
        symbol = {"right": "✓", "wrong": "✗", "not attempted": "○"}[self.status]
        return (
            f"{symbol} {self.exercise_id} {self.status}{', because ' if self.status == 'wrong' else ': '}{self.reason}"
        )

    def _ipython_display_(self) -> None:
        """Show nothing: `check` has printed the verdict, and a notebook would show it a second time."""
