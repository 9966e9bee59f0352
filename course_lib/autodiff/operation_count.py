"""Count arithmetic: run a function on numbers that notice each operation they take part in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from course_lib.autodiff.rules import Array


class _Counted(float):
    """A float whose arithmetic is counted."""

    operations = 0

    def tanh(self) -> _Counted:
        """Called by ``np.tanh`` for each entry."""
        return _counted(math.tanh(self))

    def exp(self) -> _Counted:
        """Called by ``np.exp`` for each entry."""
        return _counted(math.exp(self))


def _counted(value: float) -> _Counted:
    _Counted.operations += 1
    return _Counted(value)


def _method(name: str) -> Callable[..., _Counted]:
    plain = getattr(float, name)
    return lambda *operands: _counted(plain(*map(float, operands)))


for _name in ("neg", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow"):
    setattr(_Counted, f"__{_name}__", _method(f"__{_name}__"))


def count_operations(function: Callable[..., Any], *arrays: ArrayLike) -> int:
    """Return how many additions, multiplications, divisions, powers, tanh and exp a NumPy function carries out.

    Each entry is counted, inside matrix products and sums too. Each operation becomes a Python call, so it is slow;
    what it counts is the same on every machine.

    Args:
        function: Uses NumPy's operators, ``@``, ``sum``, ``np.tanh``, ``np.exp``; what it returns is ignored.
        arrays: Its arguments; only arithmetic with them, or with what came from them, is counted.

    Example:
        >>> count_operations(lambda W, x: W @ x, np.ones((3, 4)), np.ones(4))  # 12 products, 3 times 3 sums
        21
    """
    arguments = []
    for array in arrays:
        plain = np.asarray(array, dtype=np.float64)
        counted: Array = np.array([_Counted(value) for value in plain.flat], dtype=object)
        arguments.append(counted.reshape(plain.shape))
    before = _Counted.operations
    function(*arguments)
    return _Counted.operations - before
