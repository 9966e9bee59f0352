"""``gradcheck``: compare a gradient with central differences, the one test that every backward pass must pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from course_lib.autodiff.rules import Array
from course_lib.autodiff.variable import Variable, no_grad


class GradientMismatch(AssertionError):
    """A computed gradient and central differences disagree."""


def central_differences(function: Callable[[Array], float], x: ArrayLike, *, step: float = 1e-6) -> Array:
    """Return the gradient of a scalar function as ``(f(x + h e_i) - f(x - h e_i)) / 2h``, coordinate by coordinate.

    Two calls of the function for each entry of ``x``, which is why nobody trains with it. In float64 the error is
    smallest near ``step = 6e-6``, the cube root of the rounding unit: truncation grows as the step squared, rounding
    as one over the step.

    Args:
        function: Takes an array of ``x``'s shape, returns a number.
        x: Where; taken as float64, left as it is.
        step: The ``h`` above.

    Example:
        >>> central_differences(lambda x: (x**2).sum(), [3.0, 4.0]).round(6)
        array([6., 8.])
    """
    if not step > 0:
        raise ValueError(f"step must be positive, got {step!r}.")
    point = np.array(x, dtype=np.float64)
    found = np.empty_like(point)
    for index in np.ndindex(point.shape):
        middle = point[index]
        point[index] = middle + step
        above = float(function(point))
        point[index] = middle - step
        below = float(function(point))
        point[index] = middle
        found[index] = (above - below) / (2 * step)
    return found


def gradcheck(
    function: Callable[..., Variable], *inputs: ArrayLike, step: float = 1e-6, tolerance: float = 1e-6, seed: int = 0
) -> float:
    """Compare the gradient that ``backward`` gives with central differences, in float64.

    An output of several entries is reduced to one number with random weights, so that a gradient sent to the wrong
    entry cannot hide.

    Args:
        function: Takes one `Variable` for each input, returns a `Variable`; smooth near the inputs.
        inputs: Where to check.
        step: Of the differences.
        tolerance: Largest error allowed, relative to 1 plus the gradient's size.
        seed: Of the random weights.

    Returns:
        The largest error found, relative to ``1 + |gradient|``; about 1e-9 for right gradients of harmless functions.

    Raises:
        GradientMismatch: If an entry is off by more; the message names it, with both numbers.

    Example:
        >>> gradcheck(lambda x, y: (x * y).tanh(), [0.3, 0.4], [[1.0], [2.0]]) < 1e-8
        True
    """
    arrays = [np.array(array, dtype=np.float64) for array in inputs]
    variables = [Variable(array.copy()) for array in arrays]
    output = function(*variables)
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, output.shape)
    output.backward(weights)
    worst = 0.0
    for place, (array, variable) in enumerate(zip(arrays, variables, strict=True)):

        def weighted(point: Array, place: int = place) -> float:
            with no_grad():
                changed = function(*(Variable(point if i == place else other) for i, other in enumerate(arrays)))
            return float((changed.data * weights).sum())

        numeric = central_differences(weighted, array, step=step)
        computed = np.zeros_like(array) if variable.grad is None else variable.grad
        error = np.abs(computed - numeric) / (1 + np.abs(numeric))
        index = np.unravel_index(int(error.argmax()), error.shape) if error.size else ()
        if error.size and not error[index] <= tolerance:
            raise GradientMismatch(
                f"the gradient of input {place} at {tuple(map(int, index))} is {computed[index]:.9g}, but central "
                f"differences give {numeric[index]:.9g}: a relative error of {error[index]:.1e}, over {tolerance:.0e}."
            )
        worst = max(worst, float(error.max(initial=0.0)))
    return worst
