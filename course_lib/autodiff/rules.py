"""The mathematics of each operation: its value, and for each input the product that pulls a gradient back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None

# Nothing in this file knows of graphs. A rule takes arrays and returns a `Result`. Its vector-Jacobian products take
# `g`, the gradient with respect to the value, of the value's shape; `unbroadcast` is left to the caller.


class Vjp(NamedTuple):
    """A vector-Jacobian product: ``pull`` maps the value's gradient to an input's, reading the arrays ``needed``."""

    pull: Callable[[Array], Array]
    needed: tuple[Array, ...] = ()


class Result(NamedTuple):
    """What a rule gives: the value, and one `Vjp` for each input."""

    value: Array
    vjps: tuple[Vjp, ...]


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``gradient`` over the axes along which an input of ``shape`` was repeated: copies add up their gradients.

    Example:
        >>> unbroadcast(np.ones((4, 3)), (3,))
        array([4., 4., 4.])
        >>> unbroadcast(np.ones((4, 3)), (4, 1)).ravel()
        array([3., 3., 3., 3.])
    """
    if gradient.shape == shape:
        return gradient
    summed = np.asarray(gradient.sum(axis=tuple(range(gradient.ndim - len(shape)))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return np.asarray(summed.sum(axis=stretched, keepdims=True))


def add(x: Array, y: Array) -> Result:
    """``x + y``."""
    _check_broadcast("add", x, y)
    return Result(x + y, (Vjp(lambda g: g), Vjp(lambda g: g)))


def subtract(x: Array, y: Array) -> Result:
    """``x - y``."""
    _check_broadcast("subtract", x, y)
    return Result(x - y, (Vjp(lambda g: g), Vjp(lambda g: -g)))


def multiply(x: Array, y: Array) -> Result:
    """``x * y``: each factor's derivative is the other one."""
    _check_broadcast("multiply", x, y)
    return Result(x * y, (Vjp(lambda g: g * y, (y,)), Vjp(lambda g: g * x, (x,))))


def divide(x: Array, y: Array) -> Result:
    """``x / y``."""
    _check_broadcast("divide", x, y)
    return Result(x / y, (Vjp(lambda g: g / y, (y,)), Vjp(lambda g: -g * x / y**2, (x, y))))


def power(x: Array, y: Array) -> Result:
    """``x ** y``; the derivatives at ``x = 0`` are 0 where the formula says 0 times infinity (as torch has it)."""
    _check_broadcast("power", x, y)
    value = x**y

    def pull_to_base(g: Array) -> Array:
        return np.asarray(g * y * x ** np.where(y == 0, 1, y - 1))

    def pull_to_exponent(g: Array) -> Array:
        return np.asarray(g * value * np.log(np.where(x == 0, 1, x)))

    return Result(value, (Vjp(pull_to_base, (x, y)), Vjp(pull_to_exponent, (x, value))))


def negative(x: Array) -> Result:
    """``-x``."""
    return Result(-x, (Vjp(lambda g: -g),))


def exp(x: Array) -> Result:
    """``e ** x``, its own derivative."""
    value = np.exp(x)
    return Result(value, (Vjp(lambda g: g * value, (value,)),))


def log(x: Array) -> Result:
    """Natural logarithm."""
    return Result(np.log(x), (Vjp(lambda g: g / x, (x,)),))


def tanh(x: Array) -> Result:
    """Hyperbolic tangent; ``tanh' = 1 - tanh**2``, so the output is all that must be kept."""
    value = np.tanh(x)
    return Result(value, (Vjp(lambda g: g * (1 - value**2), (value,)),))


def relu(x: Array) -> Result:
    """``max(x, 0)``; the derivative at 0, where there is none, is taken as 0 (as torch does)."""
    value = np.maximum(x, 0)
    return Result(value, (Vjp(lambda g: g * (value > 0), (value,)),))


def matmul(x: Array, y: Array) -> Result:
    """``x @ y`` as NumPy defines it: the last two axes are matrices, the axes before them broadcast, 1-D is a vector.

    For matrices, ``Z = X Y`` has the vector-Jacobian products ``G Y^T`` and ``X^T G``: the only products of a gradient
    ``G`` of Z's shape with the other factor that have the right shapes.
    """
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[max(-2, -y.ndim)]:
        raise ValueError(
            f"matmul: {x.shape} @ {y.shape} does not fit: the last axis of the left must be as long as the last "
            "but one of the right (a vector's only axis). Perhaps one of them must be transposed."
        )
    _check_broadcast("matmul", x, y, x.shape[:-2], y.shape[:-2])
    rows = x[None, :] if x.ndim == 1 else x
    columns = y[:, None] if y.ndim == 1 else y

    def as_matrix(g: Array) -> Array:
        g = np.expand_dims(g, -1) if y.ndim == 1 else g
        return np.expand_dims(g, -2) if x.ndim == 1 else g

    def pull_to_left(g: Array) -> Array:
        return as_matrix(g) @ columns.swapaxes(-1, -2)

    def pull_to_right(g: Array) -> Array:
        found = rows.swapaxes(-1, -2) @ as_matrix(g)
        return found[..., 0] if y.ndim == 1 else found

    return Result(np.asarray(x @ y), (Vjp(pull_to_left, (y,)), Vjp(pull_to_right, (x,))))


def sum_(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Result:
    """Sum over axes: each summand's derivative is 1, so the gradient is repeated."""
    axes = _checked_axes("sum", x, axis)
    value = np.asarray(x.sum(axis=axes, keepdims=keepdims))
    return Result(value, (Vjp(lambda g: np.broadcast_to(_with_axes(g, axes, keepdims), x.shape)),))


def max_(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Result:
    """Largest entry over axes; entries that tie for it share its gradient equally (as ``torch.amax`` does)."""
    axes = _checked_axes("max", x, axis)
    value = np.asarray(x.max(axis=axes, keepdims=keepdims))

    def pull(g: Array) -> Array:
        winners = (x == _with_axes(value, axes, keepdims)).astype(x.dtype)
        return np.asarray(_with_axes(g, axes, keepdims) * winners / winners.sum(axis=axes, keepdims=True))

    return Result(value, (Vjp(pull, (x, value)),))


def logsumexp(x: Array, *, axis: Axis = -1, keepdims: bool = False) -> Result:
    """``log(sum(exp(x)))``, the largest entry taken out so that nothing overflows; its derivative is the softmax."""
    axes = _checked_axes("logsumexp", x, axis)
    largest = x.max(axis=axes, keepdims=True)
    total = largest + np.log(np.exp(x - largest).sum(axis=axes, keepdims=True))
    value = total if keepdims else np.asarray(total.squeeze(axes))
    return Result(value, (Vjp(lambda g: _with_axes(g, axes, keepdims) * np.exp(x - total), (x, total)),))


def reshape(x: Array, *, shape: tuple[int, ...]) -> Result:
    """The same entries, in the same order, in another shape."""
    try:
        value = x.reshape(shape)
    except ValueError:
        raise ValueError(f"reshape: {x.shape} has {x.size} entries, which do not fit into {shape}.") from None
    return Result(value, (Vjp(lambda g: g.reshape(x.shape)),))


def transpose(x: Array, *, axes: Sequence[int] | None = None) -> Result:
    """The axes in another order; ``None`` reverses them."""
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)
    if sorted(axis % x.ndim if x.ndim else axis for axis in order) != list(range(x.ndim)):
        raise ValueError(f"transpose: axes must name each axis of {x.shape} once, got {order}.")
    back = np.argsort([axis % x.ndim for axis in order])
    return Result(x.transpose(order), (Vjp(lambda g: g.transpose(back)),))


def getitem(x: Array, *, index: Any) -> Result:
    """``x[index]``; an entry that is picked twice receives both gradients."""

    def pull(g: Array) -> Array:
        found = np.zeros(x.shape, g.dtype)
        np.add.at(found, index, g)
        return found

    return Result(np.asarray(x[index]), (Vjp(pull),))


def _with_axes(reduced: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Put back, with length 1, the axes that a reduction took away."""
    return reduced if keepdims else np.expand_dims(reduced, axes)


def _checked_axes(name: str, x: Array, axis: Axis) -> tuple[int, ...]:
    given = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(one + x.ndim if one < 0 else one for one in given)
    if len(set(axes)) < len(axes) or not all(0 <= one < x.ndim for one in axes):
        raise ValueError(f"{name}: axis {axis} does not fit an array of shape {x.shape}, which has {x.ndim} axes.")
    return axes


def _check_broadcast(name: str, x: Array, y: Array, *parts: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(*(parts or (x.shape, y.shape)))
    except ValueError:
        raise ValueError(
            f"{name}: shapes {x.shape} and {y.shape} do not broadcast. Compared from the last axis back, two lengths "
            "must be equal, or one of them 1."
        ) from None
