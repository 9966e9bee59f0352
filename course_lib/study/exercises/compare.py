"""Say in words how a result differs from what is right: by what can be seen, never by guessing the mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from course_lib.study.exercises.values import dtype_name, is_array, is_number, to_numpy, written

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """How exactly a result has to agree.

    Args:
        tolerance: Relative and absolute, for floating-point arrays; whole numbers and booleans are compared exactly.
        number_tolerance: The same for a single number, which may come in any type.
        kind: Whether arrays must be tensors or NumPy arrays; None if either will do.
        dtype: What floating-point arrays must come in; None if any will do.
    """

    tolerance: tuple[float, float]
    number_tolerance: tuple[float, float]
    kind: Literal["torch", "numpy"] | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What is seen to be different, as the end of "wrong, because ...", and where a learner may look.

    ``same_form`` says that shapes and types agree, so that only the numbers are wrong.
    """

    symptom: str
    look_at: str
    same_form: bool = False


def difference(expected: Any, got: Any, rules: Rules, where: str = "the result") -> Difference | None:
    """Compare a result with what is right; None if they agree.

    A number may come as a Python number or as an array without dimensions; a tuple may come as a list.

    Args:
        expected: What is right, in float64.
        got: What the learner's function returned.
        rules: How exactly they have to agree.
        where: Which part of the result this is, for the message.
    """
    if got is None and expected is not None:
        return Difference(f"{where} is None", "does every way through the function end in a return?")
    if isinstance(expected, tuple | list):
        return _sequence_difference(expected, got, rules, where)
    if isinstance(expected, Mapping):
        return _mapping_difference(expected, got, rules, where)
    if not is_number(expected):
        if type(expected) is type(got) and expected == got:
            return None
        return Difference(f"{where} is another one", "compare what is expected with what came")
    return _number_difference(expected, got, rules, where)


def _sequence_difference(expected: Any, got: Any, rules: Rules, where: str) -> Difference | None:
    if is_array(got) and got.ndim > 0 and all(is_number(part) and not is_array(part) for part in expected):
        got = list(got)
    if not isinstance(got, tuple | list):
        return Difference(
            f"{where} should be {len(expected)} values, but is one {_type_name(got)}",
            "what the task says about what is returned",
        )
    if len(got) != len(expected):
        return Difference(
            f"{where} has {len(got)} values where {len(expected)} are expected",
            "what the task says about what is returned",
        )
    for index, (want, have) in enumerate(zip(expected, got, strict=True)):
        found = difference(want, have, rules, f"{where.removeprefix('the ')}[{index}]")
        if found is not None:
            return found
    return None


def _mapping_difference(expected: Mapping[Any, Any], got: Any, rules: Rules, where: str) -> Difference | None:
    if not isinstance(got, Mapping):
        return Difference(f"{where} should be a dict, but is a {_type_name(got)}", "what the task says is returned")
    if got.keys() != expected.keys():
        return Difference(
            f"{where} has keys {sorted(map(str, got))} where {sorted(map(str, expected))} are expected", "the keys"
        )
    for key, want in expected.items():
        found = difference(want, got[key], rules, f"{where.removeprefix('the ')}[{key!r}]")
        if found is not None:
            return found
    return None


def _number_difference(expected: Any, got: Any, rules: Rules, where: str) -> Difference | None:
    want = to_numpy(expected)
    if not is_number(got):
        wanted = "a single number" if want.ndim == 0 else _kind_name(rules)
        return Difference(f"{where} should be {wanted}, but is a {_type_name(got)}", "what the task says is returned")
    have = to_numpy(got)
    if have.shape != want.shape:
        wanted = "a single number is" if want.ndim == 0 else f"shape {want.shape} is"
        came = "is a single number" if have.ndim == 0 else f"has shape {have.shape}"
        return Difference(
            f"{where} {came} where {wanted} expected",
            "which shape each step gives; broadcasting may have made another one of it than you meant",
        )
    found = _type_difference(want, got, rules, where) if want.ndim > 0 else None
    if found is None:
        found = _value_difference(want, have, rules, where)
        return None if found is None else replace(found, same_form=True)
    return found


def _type_difference(want: _Array, got: Any, rules: Rules, where: str) -> Difference | None:
    is_torch = isinstance(got, torch.Tensor)
    if rules.kind is not None and is_torch != (rules.kind == "torch"):
        return Difference(
            f"{where} should be {_kind_name(rules)}, but is a {_type_name(got)}",
            "keep to the kind of array that the arguments are",
        )
    names = {"f": "floating-point numbers", "i": "whole numbers", "u": "whole numbers", "b": "booleans"}
    have_kind, want_kind = to_numpy(got).dtype.kind, want.dtype.kind
    if names.get(have_kind) != names.get(want_kind):
        return Difference(
            f"{where} should hold {names.get(want_kind, want.dtype)}, but its dtype is {dtype_name(got)}",
            "which operation changed the dtype, or which dtype a new array was made with",
        )
    if want_kind == "f" and rules.dtype is not None and dtype_name(got) != rules.dtype:
        return Difference(
            f"{where} has dtype {dtype_name(got)}, the arguments have {rules.dtype}",
            "new arrays get a default dtype unless you pass dtype=...; keep that of the arguments",
        )
    return None


def _value_difference(want: _Array, have: _Array, rules: Rules, where: str) -> Difference | None:
    exact = want.dtype.kind in "iub" and have.dtype.kind in "iub"
    rtol, atol = rules.tolerance if want.ndim > 0 else rules.number_tolerance
    equal = have == want if exact else np.isclose(have, want, rtol=rtol, atol=atol, equal_nan=True)
    if equal.all():
        return None
    for test, name, look_at in (
        (np.isnan, "nan", "what is 0/0, inf - inf, or the logarithm or root of a negative number here?"),
        (np.isinf, "inf", "what is divided by 0, exponentiated when large, or the logarithm of 0 here?"),
    ):
        if (test(have) & ~test(want)).any():
            return Difference(f"{where} is {name}{_at(test(have) & ~test(want))}, where a number is expected", look_at)
        if (test(want) & ~test(have)).any():
            return Difference(
                f"{where} is a number{_at(test(want) & ~test(have))}, where {name} is expected", "this special case"
            )
    pattern = _pattern(want, have, rtol, atol)
    if pattern is not None:
        return Difference(f"{where} {pattern[0]}", pattern[1])
    return _elsewise(want, have, equal, where)


def _elsewise(want: _Array, have: _Array, equal: _Array, where: str) -> Difference:
    with np.errstate(all="ignore"):
        distance = np.where(equal, 0.0, np.abs(np.subtract(have, want, dtype=np.float64)))
        relative = np.max(distance / np.maximum(np.abs(want), np.finfo(np.float64).tiny))
    if relative < 1e-3:
        return Difference(
            f"{where} is nearly right, but off by a factor of 1 + {relative:.0e} at worst: more than rounding explains",
            "a small constant that does not belong, or a step in a lower precision than the arguments'",
        )
    if want.size == 1:
        size = "large" if have.item() > want.item() else "small"
        return Difference(f"{where} is too {size}", "work this input out by hand and compare each step")
    most = distance == distance.max()
    num_wrong = int((~equal).sum())
    most_of_all = "most of all" if num_wrong > 1 else "namely"
    return Difference(
        f"{where} is wrong in {num_wrong} of {equal.size} places, {most_of_all}{_at(most)}: "
        f"{written(have[most][0])} instead of {written(want[most][0])}",
        "work this input out by hand and compare each step",
    )


def _pattern(want: _Array, have: _Array, rtol: float, atol: float) -> tuple[str, str] | None:
    """Look for one regularity behind all that is different: a transposition, a sign, a factor, a shift, an order."""

    def close(first: _Array, second: _Array) -> bool:
        return first.shape == second.shape and bool(np.allclose(first, second, rtol=rtol, atol=atol, equal_nan=True))

    have, want = have.astype(np.float64), want.astype(np.float64)
    if want.size == 1:
        negative = bool(have.any()) and close(-have, want)
        return ("has the wrong sign", "each minus, and which way round a difference is taken") if negative else None
    if want.ndim == 2 and close(have.T, want):
        return "is transposed", "which index is the row and which the column"
    if close(-have, want):
        return "has the wrong sign everywhere", "each minus, and which way round a difference is taken"
    finite = np.isfinite(want) & np.isfinite(have)
    nonzero = finite & (want != 0)
    if int(nonzero.sum()) >= 2:
        factor = float(np.median(have[nonzero] / want[nonzero]))
        if factor != 0 and close(have, factor * want):
            beyond = factor - 1
            times = f"{factor:.4g}" if abs(beyond) > 5e-4 else f"1 {'+' if beyond > 0 else '-'} {abs(beyond):.1g}"
            return f"is {times} times what is expected, everywhere", "what is divided by, and summed or averaged"
    if int(finite.sum()) >= 2:
        shift = float(np.median(have[finite] - want[finite]))
        if close(have, want + shift):
            return (
                f"is off by {shift:+.4g} everywhere",
                "a constant that is added, or a term that does not depend on the place",
            )
        if close(np.sort(have, axis=None), np.sort(want, axis=None)):
            return "has the right numbers in other places", "the order of the rows, and which index selects what"
    return None


def _at(places: _Array) -> str:
    if places.ndim == 0:
        return ""
    index = np.unravel_index(int(places.argmax()), places.shape)
    return f" at [{', '.join(str(int(number)) for number in index)}]"


def _kind_name(rules: Rules) -> str:
    return {"torch": "a tensor", "numpy": "a NumPy array", None: "an array"}[rules.kind]


def _type_name(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "tensor"
    return "NumPy array" if isinstance(value, np.ndarray) else type(value).__name__
