"""Prove an exercise's check: it must pass the solution, reject known wrong answers, and notice small changes."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch

from course_lib.study.exercises import stub_of
from course_lib.study.exercises.judging import NotAttempted, failures, inputs, judge, precision_of
from course_lib.study.exercises.model import Exercise, Function, Verdict
from course_lib.study.exercises.mutants import FILENAME, Mutant, mutants
from course_lib.study.exercises.stubs import code_of

MIN_KILLED = 0.9
NUM_SEEDS = 20
MIN_WRONG = 3


@dataclass(frozen=True, slots=True)
class Score:
    """How many mutants of the solution a check rejects, and those that it lets pass."""

    killed: int
    survivors: tuple[Mutant, ...]

    @property
    def share(self) -> float:
        """The share that is rejected; 1 if there is nothing to mutate."""
        total = self.killed + len(self.survivors)
        return self.killed / total if total else 1.0


class _OutOfLines(BaseException):
    """A mutant has run far more lines than the solution: its loop does not end. Not to be caught by the mutant."""


def mutation_score(exercise: Exercise, *, seed: int = 0) -> Score:
    """Check every mutant of the solution as a learner's answer would be.

    A mutant whose Python loop does not end counts as rejected: it is stopped after ten times the lines of code that
    the solution needs. A loop inside a single call of a library would not be noticed.
    """
    needed = _lines_run(exercise, exercise.solution, seed, sys.maxsize)[1]
    killed, survivors = 0, []
    for mutant in mutants(exercise.solution):
        if _lines_run(exercise, mutant.function, seed, 10 * needed + 1000)[0]:
            survivors.append(mutant)
        else:
            killed += 1
    return Score(killed, tuple(survivors))


def validate_exercise(exercise: Exercise) -> list[str]:
    """Return what is wrong with an exercise, a sentence each; nothing if it is as it should be.

    The solution must pass with every one of 20 seeds and each wrong answer fail with every one, for a reason; the check
    must reject 90 % of the solution's mutants; the stub must count as not attempted; there must be hints.
    """
    return [f"exercise {exercise.id}: {complaint}" for complaint in _complaints(exercise)]


def _complaints(exercise: Exercise) -> Iterator[str]:
    if len(exercise.hints) < 2:
        yield f"expected two hints or more, from gentle to nearly told, got {len(exercise.hints)}"
    if len(exercise.wrong) < MIN_WRONG:
        yield f"expected {MIN_WRONG} wrong answers that people really give, got {len(exercise.wrong)}"
    try:
        namespace: dict[str, Any] = dict(exercise.solution.__globals__)
        exec(compile("from __future__ import annotations\n" + stub_of(exercise), "<stub>", "exec"), namespace)
    except ValueError as error:
        yield str(error)
    else:
        if judge(exercise, namespace[exercise.solution.__name__], seed=0).status != "not attempted":
            yield "its stub is not told from an answer"
    met = {precision_of(case) for case in inputs(exercise, np.random.default_rng(0))}
    if idle := sorted(set(exercise.tolerance) - met):
        yield f"its tolerance for {', '.join(idle)} is never used: its inputs are {', '.join(sorted(met))}"
    for seed in range(NUM_SEEDS):
        verdict = _first_verdict(exercise, exercise.solution, seed)
        if verdict.status != "right":
            yield f"the solution does not pass with seed {seed}: {verdict}"
            return
    for name, answer in exercise.wrong.items():
        passed = [seed for seed in range(NUM_SEEDS) if _first_verdict(exercise, answer, seed).status != "wrong"]
        if passed:
            yield f"the wrong answer {name!r} is not rejected with the seeds {passed}; add an edge case that tells"
    score = mutation_score(exercise)
    if score.share < MIN_KILLED:
        listed = "; ".join(map(str, score.survivors))
        yield f"only {score.share:.0%} of the solution's mutants are rejected. These pass: {listed}"


def _first_verdict(exercise: Exercise, function: Function, seed: int) -> Verdict:
    """Judge up to the first failure: the smallest counter-example, which learners see, takes longer to find."""
    with _quietly():
        try:
            failure = next(failures(exercise, function, np.random.default_rng(seed)), None)
        except NotAttempted:
            return Verdict(exercise.id, "not attempted", "it says so itself.")
    return Verdict(exercise.id, "wrong" if failure else "right", str(failure or "it passed."))


def _lines_run(exercise: Exercise, function: Function, seed: int, budget: int) -> tuple[bool, int]:
    """Check a function; return whether it passed, and how many of its lines were run."""
    code = code_of(function)
    with _line_budget(code.co_filename if code else FILENAME, budget) as lines:
        try:
            passed = _first_verdict(exercise, function, seed).status == "right"
        except _OutOfLines:
            passed = False
    return passed, lines[0]


@contextlib.contextmanager
def _line_budget(filename: str, budget: int) -> Iterator[list[int]]:
    """Raise `_OutOfLines` once more than ``budget`` lines of a file were run; count them in what is yielded."""
    lines = [0]

    def count(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != filename:
            return None
        lines[0] += event == "line"
        if lines[0] > budget:
            raise _OutOfLines
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield lines
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep to ourselves what wrong answers print, warn about and do to torch's global generator."""
    generator = torch.random.fork_rng(devices=[])
    with generator, warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
