"""Arguments and results of exercises: in float64, compared before and after a call, and written out small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch

NUM_SHOWN = 48  # an array with more elements is abbreviated


def is_array(value: Any) -> bool:
    """Tell whether a value is a tensor or a NumPy array, of any number of dimensions."""
    return isinstance(value, torch.Tensor | np.ndarray)


def is_number(value: Any) -> bool:
    """Tell whether a value is a number or an array of numbers."""
    return is_array(value) or isinstance(value, bool | int | float | complex | np.generic)


def to_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return a number, array or tensor as an array that NumPy can calculate with."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return np.asarray((value.double() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy())
    return np.asarray(value)


def dtype_name(value: Any) -> str:
    """Return ``"float32"``, ``"int64"``, ... of an array or tensor."""
    return str(value.dtype).removeprefix("torch.")


def arrays_in(value: Any) -> Iterator[Any]:
    """Yield the arrays and tensors in a value, also from within tuples, lists and dicts."""
    if is_array(value):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from arrays_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from arrays_in(part)


def num_elements(value: Any) -> int:
    """Return how much there is to read in a value: its numbers, counted."""
    if is_array(value):
        return int(np.prod(value.shape, dtype=np.int64))
    if isinstance(value, Mapping):
        return sum(num_elements(part) for part in value.values())
    if isinstance(value, tuple | list):
        return sum(num_elements(part) for part in value)
    return 1


def in_float64(value: Any) -> Any:
    """Return a copy of a value in which everything of floating point is float64."""
    if isinstance(value, torch.Tensor):
        copy = value.detach().clone()
        return copy.double() if copy.is_floating_point() else copy
    if isinstance(value, np.ndarray | np.generic):
        return value.astype(np.float64) if value.dtype.kind == "f" else value.copy()
    return _mapped(in_float64, value)


def in_form(value: Any, kind: Literal["torch", "numpy"] | None, dtype: str | None) -> Any:
    """Return what an oracle gave in the form asked of a learner: as tensors or NumPy arrays, in their dtype."""
    if not is_array(value):
        return _mapped(lambda part: in_form(part, kind, dtype), value)
    tensor = torch.as_tensor(value)
    if tensor.is_floating_point() and dtype is not None:
        tensor = tensor.to(getattr(torch, dtype))
    as_numpy = kind == "numpy" or (kind is None and isinstance(value, np.ndarray))
    return tensor.numpy() if as_numpy else tensor


def same(first: Any, second: Any) -> bool:
    """Tell whether two values are equal to the last bit, nan being equal to nan.

    Objects that are no numbers, containers or strings are not looked into.
    """
    if is_array(first) and is_array(second):
        if type(first) is not type(second) or dtype_name(first) != dtype_name(second) or first.shape != second.shape:
            return False
        a, b = to_numpy(first), to_numpy(second)
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, bool | int | float | str | None):
        return bool(first == second) or (first != first and second != second)
    return type(first) is type(second)


def written(value: Any) -> str:
    """Write a value out for a learner: tensors with their dtype, large ones abbreviated with their shape."""
    if is_array(value):
        return _written_array(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        text = f"{float(value):.6g}"
        return text if set(text) & set(".en") else text + ".0"
    if isinstance(value, np.generic):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple | list):
        shown = ", ".join(written(part) for part in value[:8]) + (", ..." if len(value) > 8 else "")
        return f"[{shown}]" if isinstance(value, list) else f"({shown}{',' if len(value) == 1 else ''})"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _written_array(value: Any) -> str:
    numbers, shape = to_numpy(value), tuple(value.shape)
    kind = "tensor" if isinstance(value, torch.Tensor) else "array"
    if numbers.ndim == 0:
        return f"{kind}({written(numbers.item())}, {dtype_name(value)})"
    about = dtype_name(value) if 0 < numbers.size <= NUM_SHOWN else f"{dtype_name(value)}, shape {shape}"
    text = np.array2string(
        numbers, precision=4, separator=", ", threshold=NUM_SHOWN, edgeitems=3, max_line_width=88, prefix=kind + "("
    )
    return f"{kind}({text}, {about})"


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: change(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(change(part) for part in value) if type(value) in (tuple, list) else value
    return value
