"""``Variable``: a NumPy array that remembers how it was computed, so that gradients can be sent back along the way."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from course_lib.autodiff import rules
from course_lib.autodiff.rules import Array, Axis, Result, Vjp

_recording: ContextVar[bool] = ContextVar("recording", default=True)


class Variable:
    """An array in a computational graph.

    A variable that you make is a *leaf*: after ``loss.backward()`` its ``grad`` holds the derivative of the loss with
    respect to it. A variable that an operation gives knows its ``op``, its ``parents``, and for each parent the
    vector-Jacobian product that leads back to it. Constants need no wrapping: ``variable * array`` works.

    Args:
        data: Floating-point arrays keep their dtype and are not copied; anything else becomes float64.
        requires_grad: Whether ``backward`` shall fill ``grad``.
        name: Shown when the graph is drawn.

    Raises:
        ValueError: If ``data`` is not numeric.

    Example:
        >>> w = Variable([1.0, 2.0])
        >>> loss = (w * w).sum()
        >>> loss.backward()
        >>> w.grad
        array([2., 4.])
    """

    __slots__ = (
        "__weakref__",
        "_checksums",
        "_retain",
        "_vjps",
        "data",
        "grad",
        "name",
        "op",
        "parents",
        "requires_grad",
    )
    __array_ufunc__ = None  # so that `array * variable` asks the variable

    def __init__(self, data: ArrayLike, *, requires_grad: bool = True, name: str = "") -> None:
        if isinstance(data, Variable):
            raise ValueError("this is a Variable already; use it as it is, or its .data for a new leaf.")
        array = np.asarray(data)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"a Variable holds real numbers, got an array of dtype {array.dtype}.")
        self.data: Array = array if array.dtype.kind == "f" else array.astype(np.float64)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self.name = name
        self.op = "leaf"
        self.parents: tuple[Variable, ...] = ()
        self._vjps: tuple[Vjp, ...] | None = ()  # None once a backward pass has used them up
        self._checksums: tuple[tuple[int, ...], ...] = ()
        self._retain = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""
        return self.data.dtype

    def item(self) -> float:
        """Return the only entry as a Python number."""
        return float(self.data.item())

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        how = "" if self.op == "leaf" else f", op={self.op!r}"
        return f"Variable({np.array2string(self.data, separator=', ')}{how})"

    def backward(self, gradient: ArrayLike | None = None, *, retain_graph: bool = False) -> None:
        """Add the derivative of this variable with respect to each leaf to the leaf's ``grad``; see `backward`."""
        from course_lib.autodiff.reverse_mode import backward

        backward(self, gradient, retain_graph=retain_graph)

    def zero_grad(self) -> None:
        """Forget the gradient, so that the next ``backward`` starts from nothing."""
        self.grad = None

    def retain_grad(self) -> None:
        """Keep this variable's gradient too, though it is not a leaf."""
        self._retain = True

    def __add__(self, other: Operand) -> Variable:
        return apply(rules.add, self, other)

    def __sub__(self, other: Operand) -> Variable:
        return apply(rules.subtract, self, other)

    def __mul__(self, other: Operand) -> Variable:
        return apply(rules.multiply, self, other)

    def __truediv__(self, other: Operand) -> Variable:
        return apply(rules.divide, self, other)

    def __pow__(self, other: Operand) -> Variable:
        return apply(rules.power, self, other)

    def __matmul__(self, other: Operand) -> Variable:
        return apply(rules.matmul, self, other)

    def __radd__(self, other: ArrayLike) -> Variable:
        return apply(rules.add, other, self)

    def __rsub__(self, other: ArrayLike) -> Variable:
        return apply(rules.subtract, other, self)

    def __rmul__(self, other: ArrayLike) -> Variable:
        return apply(rules.multiply, other, self)

    def __rtruediv__(self, other: ArrayLike) -> Variable:
        return apply(rules.divide, other, self)

    def __rpow__(self, other: ArrayLike) -> Variable:
        return apply(rules.power, other, self)

    def __rmatmul__(self, other: ArrayLike) -> Variable:
        return apply(rules.matmul, other, self)

    def __neg__(self) -> Variable:
        return apply(rules.negative, self)

    def __getitem__(self, index: Any) -> Variable:
        return apply(rules.getitem, self, index=index)

    def exp(self) -> Variable:
        """Return e to the power of each entry."""
        return apply(rules.exp, self)

    def log(self) -> Variable:
        """Return the natural logarithm of each entry."""
        return apply(rules.log, self)

    def tanh(self) -> Variable:
        """Return the hyperbolic tangent of each entry."""
        return apply(rules.tanh, self)

    def relu(self) -> Variable:
        """Return each entry, negative ones replaced by 0."""
        return apply(rules.relu, self)

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> Variable:
        """Return the sum over ``axis`` (all of them if None)."""
        return apply(rules.sum_, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Variable:
        """Return the mean over ``axis`` (all of them if None): a sum, divided."""
        total = self.sum(axis, keepdims=keepdims)
        return total * (max(total.data.size, 1) / self.data.size)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Variable:
        """Return the largest entry over ``axis`` (all of them if None)."""
        return apply(rules.max_, self, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = -1, *, keepdims: bool = False) -> Variable:
        """Return ``log(sum(exp(x)))`` over ``axis``, without overflow."""
        return apply(rules.logsumexp, self, axis=axis, keepdims=keepdims)

    def log_softmax(self, axis: int = -1) -> Variable:
        """Return the logarithms of probabilities proportional to ``exp(x)``, which sum to 1 over ``axis``."""
        return self - self.logsumexp(axis, keepdims=True)

    def reshape(self, *shape: int) -> Variable:
        """Return the same entries in another shape; one length may be -1."""
        return apply(rules.reshape, self, shape=shape)

    def transpose(self, *axes: int) -> Variable:
        """Return the array with its axes in the given order, reversed if none is given."""
        return apply(rules.transpose, self, axes=axes or None)

    @property
    def T(self) -> Variable:  # NumPy's name
        """The array with its axes reversed."""
        return self.transpose()


Operand = Variable | ArrayLike


def apply(rule: Callable[..., Result], *inputs: Operand, **options: Any) -> Variable:
    """Compute a rule on the inputs' arrays and, unless nothing needs a gradient, record it.

    Args:
        rule: A function of `course_lib.autodiff.rules`, or one of yours in their form.
        inputs: Variables, arrays, numbers. A plain number takes the dtype of the variables.
        options: Passed on to the rule, such as ``axis``.

    Returns:
        A new variable.
    """
    dtypes = [one.dtype for one in inputs if isinstance(one, Variable)]
    kept = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
    parents = tuple(_as_variable(one, kept) for one in inputs)
    value, vjps = rule(*(parent.data for parent in parents), **options)
    output = Variable(value, requires_grad=_recording.get() and any(parent.requires_grad for parent in parents))
    if output.requires_grad:
        output.op, output.parents, output._vjps = rule.__name__.rstrip("_"), parents, vjps
        output._checksums = tuple(
            tuple(map(checksum, vjp.needed)) if parent.requires_grad else ()
            for parent, vjp in zip(parents, vjps, strict=True)
        )
    return output


def _as_variable(operand: Operand, dtype: np.dtype[Any]) -> Variable:
    if isinstance(operand, Variable):
        return operand
    number = isinstance(operand, int | float) and not isinstance(operand, np.generic)
    return Variable(np.asarray(operand, dtype) if number else operand, requires_grad=False)


def checksum(array: Array) -> int:
    """Return a fingerprint of an array's entries: if it changes, somebody has written into the array."""
    return zlib.crc32(np.ascontiguousarray(array).data)


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording: for evaluation, and for anything else that nobody will differentiate.

    Example:
        >>> w = Variable([1.0, 2.0])
        >>> with no_grad():
        ...     y = (w * w).sum()
        >>> y.requires_grad, y.parents
        (False, ())
    """
    before = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(before)
