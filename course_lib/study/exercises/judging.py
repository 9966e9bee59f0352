"""Judge an answer to an exercise: call it on fresh inputs, compare, and put what is wrong into words."""

from __future__ import annotations

import copy
import inspect
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch

from course_lib.study.exercises.compare import Rules, difference
from course_lib.study.exercises.model import TOLERANCE, Case, Exercise, Function, Verdict
from course_lib.study.exercises.stubs import has_gap, is_learners, is_stub, says_not_implemented
from course_lib.study.exercises.values import arrays_in, dtype_name, in_float64, in_form, num_elements, same, written

_NOT_ATTEMPTED = "write the body of the function, then run this cell again."


class NotAttempted(Exception):
    """The function says itself that it is not written yet."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One input on which an answer is wrong, and why; ``lines`` are the counter-example, with a label each."""

    case: Case
    because: str
    lines: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        labels = [f"  {label:<9} " + text.replace("\n", "\n" + " " * 12) for label, text in self.lines]
        return "\n".join([f"{self.because.rstrip('.')}.", *labels])


def judge(exercise: Exercise, attempt: Any, *, seed: int | None = None) -> Verdict:
    """Judge an attempt; of the inputs on which it fails, the smallest is shown.

    There is no time limit: an endless loop is interrupted as any other cell is.

    Args:
        exercise: What was asked.
        attempt: The learner's function.
        seed: What to draw inputs from; by default from the operating system, so that each check has fresh ones.

    Raises:
        ValueError: If ``attempt`` is not a function.
    """
    if is_stub(attempt):
        return Verdict(exercise.id, "not attempted", _NOT_ATTEMPTED)
    if not callable(attempt):
        raise ValueError(
            f"exercise {exercise.id} needs your function itself, got {written(attempt)}: "
            "pass its name, without parentheses after it."
        )
    try:
        found = list(failures(exercise, attempt, np.random.default_rng(seed)))
    except NotAttempted:
        return Verdict(exercise.id, "not attempted", _NOT_ATTEMPTED)
    if found and has_gap(attempt):
        return Verdict(exercise.id, "not attempted", "a ... is left where a line of yours belongs; replace it.")
    if found:
        return Verdict(exercise.id, "wrong", str(min(found, key=_difficulty_to_read)))
    fixed = len(exercise.edge_cases)
    return Verdict(
        exercise.id, "right", f"it passed on {exercise.num_draws} fresh random inputs and {fixed} fixed ones."
    )


def failures(exercise: Exercise, attempt: Function, rng: np.random.Generator) -> Iterator[Failure]:
    """Yield a `Failure` for each input on which an attempt is wrong: the fixed inputs first, then random ones.

    Raises:
        NotAttempted: If the function raises NotImplementedError itself, or returns an Ellipsis.
    """
    for case in inputs(exercise, rng):
        failure = _failure(exercise, attempt, case)
        if failure is not None:
            yield failure


def inputs(exercise: Exercise, rng: np.random.Generator) -> Iterator[Case]:
    """Yield what one check calls an answer with: the fixed inputs first, then random ones."""
    drawn = (exercise.cases(rng) for _ in range(exercise.num_draws))
    for case in chain(exercise.edge_cases, drawn):
        yield case if isinstance(case, Case) else Case(case)


class _Raised(Exception):
    """The attempt raised ``error`` when a property called it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _failure(exercise: Exercise, attempt: Function, case: Case) -> Failure | None:
    args, kwargs = copy.deepcopy(case.args), copy.deepcopy(dict(case.kwargs))
    try:
        got = attempt(*args, **kwargs)
    except Exception as error:
        if says_not_implemented(error, attempt):
            raise NotAttempted from error
        return _shown(exercise, case, _raised(error, attempt))
    if got is Ellipsis or (isinstance(got, tuple) and any(part is Ellipsis for part in got)):
        raise NotAttempted
    if not exercise.may_modify_arguments and not same((case.args, case.kwargs), (args, kwargs)):
        return _modified(exercise, case, args, kwargs)
    if exercise.oracle is not None:
        rules = _rules(exercise, case)
        expected = exercise.oracle(*in_float64(case.args), **in_float64(dict(case.kwargs)))
        found = difference(expected, got, rules)
        if found is not None:
            advice = exercise.explain(case, expected, got) if exercise.explain and found.same_form else None
            wanted = written(in_form(expected, rules.kind, rules.dtype))
            lines = (("expected", wanted), ("got", written(got)), ("look at", advice or found.look_at))
            return _shown(exercise, case, found.symptom, *lines)
    complaint = _property_complaint(exercise, attempt, case, got)
    return _shown(exercise, case, complaint, ("got", written(got))) if complaint is not None else None


def _property_complaint(exercise: Exercise, attempt: Function, case: Case, got: Any) -> str | None:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return attempt(*copy.deepcopy(args), **copy.deepcopy(kwargs))
        except Exception as error:
            raise _Raised(error) from error

    for wanted in exercise.properties:
        try:
            complaint = wanted.complaint(call, case, got)
        except _Raised as raised:
            complaint = _raised(raised.error, attempt)
        except Exception as error:  # the result is of a form that nobody thought of
            complaint = f"the result cannot be read that way ({type(error).__name__}: {error})"
        if complaint is not None:
            return f"a right answer {wanted.name}; here {complaint}"
    return None


def _shown(exercise: Exercise, case: Case, because: str, *lines: tuple[str, str]) -> Failure:
    inputs = [f"{name} = {written(value)}" for name, value in _named(exercise, case, case.args, case.kwargs).items()]
    inputs += [f"({case.note})"] if case.note else []
    labelled = [("" if index else "input", text) for index, text in enumerate(inputs)]
    return Failure(case, because, (*labelled, *lines))


def _modified(exercise: Exercise, case: Case, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Failure:
    before, after = _named(exercise, case, case.args, case.kwargs), _named(exercise, case, args, kwargs)
    name = next(name for name in before if not same(before[name], after[name]))
    return _shown(
        exercise,
        case,
        f"it changed its argument {name}, which belongs to the caller",
        ("after", f"{name} = {written(after[name])}"),
        ("look at", "work on a copy: += and x[...] = ... write into the argument itself"),
    )


def _named(exercise: Exercise, case: Case, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = list(inspect.signature(exercise.solution).bind(*case.args, **case.kwargs).arguments)
    positional = names[: len(args)]
    return dict(zip(positional, args, strict=True)) | dict(kwargs)


def _difficulty_to_read(failure: Failure) -> tuple[bool, int]:
    """Order counter-examples: those without an empty array first, then by how many numbers there are to read."""
    values = (failure.case.args, failure.case.kwargs)
    return any(num_elements(array) == 0 for array in arrays_in(values)), num_elements(values)


def _raised(error: Exception, attempt: Function) -> str:
    """Say which exception it was and at which of the learner's own lines, in one line."""
    trace: TracebackType | None = error.__traceback__
    place = ""
    while trace is not None:
        if is_learners(trace, attempt):
            source = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno).strip()
            place = f" at line {trace.tb_lineno}" + (f", `{source[:80]}`" if source else "")
        trace = trace.tb_next
    message = " ".join(str(error).split())
    return f"it raised {type(error).__name__}{place}: {message[:200] or 'without a message'}"


def precision_of(case: Case) -> str:
    """Return the coarsest floating dtype among the arrays of a case, which decides the tolerance."""
    names = {dtype_name(array) for array in arrays_in((case.args, dict(case.kwargs)))}
    return next((name for name in TOLERANCE if name in names), "float32")  # without one, torch's default dtype


def _rules(exercise: Exercise, case: Case) -> Rules:
    arrays = list(arrays_in((case.args, dict(case.kwargs))))
    names = {dtype_name(array) for array in arrays} & set(TOLERANCE)
    coarsest = precision_of(case)
    tolerance = exercise.tolerance.get(coarsest, TOLERANCE[coarsest])
    number_tolerance = max(TOLERANCE["float32"], tolerance)  # an accuracy by .float().mean() is right
    kinds: set[Literal["torch", "numpy"]] = {
        "torch" if isinstance(array, torch.Tensor) else "numpy" for array in arrays
    }
    return Rules(
        tolerance,
        number_tolerance=tolerance if coarsest in exercise.tolerance else number_tolerance,
        kind=next(iter(kinds)) if len(kinds) == 1 else None,
        dtype=coarsest if exercise.same_dtype and len(names) == 1 else None,
    )
