"""Checks of arrays that come from outside, once, at the boundary."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def positive(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return ``values`` in float64.

    Raises:
        ValueError: If one of them is not finite and above 0.
    """
    array = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(array) & (array > 0)).all():
        bad = array[~(np.isfinite(array) & (array > 0))].ravel()[0]
        raise ValueError(f"{name} must be positive and finite, got {bad:g}.")
    return array


def columns(least: int, **named: ArrayLike) -> list[NDArray[np.float64]]:
    """Return positive columns of one length, one row a run.

    Raises:
        ValueError: If their lengths differ, or there are fewer than ``least`` rows.
    """
    arrays = [positive(name, values) for name, values in named.items()]
    shapes = {name: array.shape for name, array in zip(named, arrays, strict=True)}
    if len(set(shapes.values())) > 1 or arrays[0].ndim != 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected one-dimensional columns of one length, one entry a run; got {told}.")
    if len(arrays[0]) < least:
        raise ValueError(f"this needs at least {least} runs, got {len(arrays[0])}.")
    return arrays
