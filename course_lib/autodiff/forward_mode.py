"""Forward mode: dual numbers, which carry a value and its derivative along one direction from the inputs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from course_lib.autodiff import rules
from course_lib.autodiff.rules import Array, Axis, Result


class Dual:
    """A value and its tangent: how fast the value changes when the inputs move along a chosen direction.

    It has the operators and methods of `Variable`, so one function serves both modes. Nothing is recorded: the
    derivative is ready as soon as the value is.

    Args:
        value: An array.
        tangent: Its derivative along the direction; 0, as for a constant, if left out.

    Shape:
        - value, tangent: the same
    """

    __slots__ = ("tangent", "value")
    __array_ufunc__ = None

    def __init__(self, value: ArrayLike, tangent: ArrayLike | None = None) -> None:
        array = np.asarray(value)
        self.value: Array = array if array.dtype.kind == "f" else array.astype(np.float64)
        self.tangent: Array = np.zeros_like(self.value) if tangent is None else np.asarray(tangent, self.value.dtype)
        if self.value.shape != self.tangent.shape:
            raise ValueError(f"value and tangent must share a shape, got {self.value.shape} and {self.tangent.shape}.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.value.shape

    def __add__(self, other: Operand) -> Dual:
        return _elementwise(rules.add, self, other)

    def __sub__(self, other: Operand) -> Dual:
        return _elementwise(rules.subtract, self, other)

    def __mul__(self, other: Operand) -> Dual:
        return _elementwise(rules.multiply, self, other)

    def __truediv__(self, other: Operand) -> Dual:
        return _elementwise(rules.divide, self, other)

    def __pow__(self, other: Operand) -> Dual:
        return _elementwise(rules.power, self, other)

    def __matmul__(self, other: Operand) -> Dual:
        left, right = self, _as_dual(other)
        value = rules.matmul(left.value, right.value).value
        return Dual(value, left.tangent @ right.value + left.value @ right.tangent)

    def __radd__(self, other: ArrayLike) -> Dual:
        return _elementwise(rules.add, other, self)

    def __rsub__(self, other: ArrayLike) -> Dual:
        return _elementwise(rules.subtract, other, self)

    def __rmul__(self, other: ArrayLike) -> Dual:
        return _elementwise(rules.multiply, other, self)

    def __rtruediv__(self, other: ArrayLike) -> Dual:
        return _elementwise(rules.divide, other, self)

    def __rpow__(self, other: ArrayLike) -> Dual:
        return _elementwise(rules.power, other, self)

    def __rmatmul__(self, other: ArrayLike) -> Dual:
        return _as_dual(other) @ self

    def __neg__(self) -> Dual:
        return _elementwise(rules.negative, self)

    def __getitem__(self, index: Any) -> Dual:
        return _linear(rules.getitem, self, index=index)

    def exp(self) -> Dual:
        """Return e to the power of each entry."""
        return _elementwise(rules.exp, self)

    def log(self) -> Dual:
        """Return the natural logarithm of each entry."""
        return _elementwise(rules.log, self)

    def tanh(self) -> Dual:
        """Return the hyperbolic tangent of each entry."""
        return _elementwise(rules.tanh, self)

    def relu(self) -> Dual:
        """Return each entry, negative ones replaced by 0."""
        return _elementwise(rules.relu, self)

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> Dual:
        """Return the sum over ``axis``."""
        return _linear(rules.sum_, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Dual:
        """Return the mean over ``axis``."""
        total = self.sum(axis, keepdims=keepdims)
        return total * (max(total.value.size, 1) / self.value.size)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Dual:
        """Return the largest entry over ``axis``; where several tie, the mean of their tangents."""
        return self._weighted(rules.max_, axis, keepdims)

    def logsumexp(self, axis: Axis = -1, *, keepdims: bool = False) -> Dual:
        """Return ``log(sum(exp(x)))`` over ``axis``."""
        return self._weighted(rules.logsumexp, axis, keepdims)

    def log_softmax(self, axis: int = -1) -> Dual:
        """Return the logarithms of probabilities proportional to ``exp(x)``."""
        return self - self.logsumexp(axis, keepdims=True)

    def reshape(self, *shape: int) -> Dual:
        """Return the same entries in another shape."""
        return _linear(rules.reshape, self, shape=shape)

    def transpose(self, *axes: int) -> Dual:
        """Return the array with its axes in the given order, reversed if none is given."""
        return _linear(rules.transpose, self, axes=axes or None)

    @property
    def T(self) -> Dual:  # NumPy's name
        """The array with its axes reversed."""
        return self.transpose()

    def _weighted(self, rule: Callable[..., Result], axis: Axis, keepdims: bool) -> Dual:
        """A reduction whose derivative weights the entries: pulling back ones gives the weights."""
        value, (vjp,) = rule(self.value, axis=axis, keepdims=keepdims)
        weights = vjp.pull(np.ones_like(value))
        return Dual(value, rules.sum_(weights * self.tangent, axis=axis, keepdims=keepdims).value)


Operand = Dual | ArrayLike


def _as_dual(operand: Operand) -> Dual:
    return operand if isinstance(operand, Dual) else Dual(operand)


def _elementwise(rule: Callable[..., Result], *inputs: Operand) -> Dual:
    """Entry by entry the Jacobian is diagonal, so ``J t`` and ``t^T J`` are the same products: a rule's vjps serve."""
    dtype = np.result_type(*(one.value.dtype for one in inputs if isinstance(one, Dual)))
    duals = [_as_dual(np.asarray(one, dtype) if isinstance(one, int | float) else one) for one in inputs]
    value, vjps = rule(*(dual.value for dual in duals))
    tangent = np.zeros_like(value)
    for dual, vjp in zip(duals, vjps, strict=True):
        if dual.tangent.any():  # a constant has no say, even where its derivative would not exist
            tangent = tangent + vjp.pull(dual.tangent)
    return Dual(value, tangent)


def _linear(rule: Callable[..., Result], dual: Dual, **options: Any) -> Dual:
    """A linear operation does to the tangent what it does to the value."""
    return Dual(rule(dual.value, **options).value, rule(dual.tangent, **options).value)


def jvp(function: Callable[..., Dual], inputs: ArrayLike | tuple[ArrayLike, ...], tangents: Any) -> tuple[Array, Array]:
    """Return a function's value, and its Jacobian times a vector, in one pass from the inputs on.

    Args:
        function: Takes one `Dual` for each input and returns a `Dual`.
        inputs: One array, or a tuple of them.
        tangents: The direction: likewise.

    Shape:
        - tangents: as the inputs
        - output: value and derivative, both of the shape of the function's value

    Raises:
        ValueError: If inputs and tangents do not have the same number and shapes.

    Example:
        >>> value, derivative = jvp(lambda x: (x * x).sum(), np.array([3.0, 4.0]), np.array([1.0, 0.0]))
        >>> float(value), float(derivative)
        (25.0, 6.0)
    """
    points = inputs if isinstance(inputs, tuple) else (inputs,)
    directions = tangents if isinstance(tangents, tuple) else (tangents,)
    if len(points) != len(directions):
        raise ValueError(f"jvp needs one tangent for each input, got {len(points)} inputs, {len(directions)} tangents.")
    output = function(*(Dual(point, direction) for point, direction in zip(points, directions, strict=True)))
    return output.value, output.tangent
