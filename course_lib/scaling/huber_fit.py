"""Least Huber loss between predicted and measured log-losses, by L-BFGS from many starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reduction = Literal["sum", "mean"]
# Maps the parameters to the predicted log-loss of each run, and its derivative by each parameter.
LogModel = Callable[[Floats], tuple[Floats, Floats]]


def log_sum_exp(terms: Floats) -> tuple[Floats, Floats]:
    """Return ``log(sum(exp(terms)))`` over the first axis, and each term's share of the sum (its derivative)."""
    largest = terms.max(axis=0)
    parts = np.exp(terms - largest)
    total = parts.sum(axis=0)
    return largest + np.log(total), parts / total


def minimise_huber(
    model: LogModel,
    log_loss: Floats,
    starts: Floats,
    *,
    delta: float,
    reduction: Reduction,
    tolerance: float,
    weights: Floats | None = None,
) -> Floats:
    """Return the parameters with the least Huber loss of ``model - log_loss``.

    Residuals of logarithms are relative errors. Beyond ``delta`` they count linearly, so that a run that went wrong
    pulls no harder than one that is a little off; with 0.001 nearly all do, and the fit is one by least absolute
    deviations that is smooth near 0.

    Args:
        model: Predicts the log-losses.
        log_loss: What was measured.
        starts: The points to descend from; the best end wins.
        delta: Where the Huber loss turns from quadratic to linear.
        reduction: ``"sum"`` or ``"mean"`` over runs. The minimum is the same, but L-BFGS stops where no component of
            the gradient exceeds ``tolerance``, and the mean's gradient is smaller by the number of runs.
        tolerance: That bound; SciPy's own default is 1e-5.
        weights: How often each run counts, 1 by default: a bootstrap sample is a vector of counts.

    Shape:
        - log_loss, weights: ``(runs,)``
        - starts: ``(starts, parameters)``
        - output: ``(parameters,)``
    """
    from scipy.optimize import minimize

    counts = np.ones_like(log_loss) if weights is None else weights
    divisor = 1.0 if reduction == "sum" else float(counts.sum())

    def objective(parameters: Floats) -> tuple[float, Floats]:
        predicted, slopes = model(parameters)
        residual = predicted - log_loss
        size = np.abs(residual)
        huber = np.where(size <= delta, residual**2 / 2, delta * (size - delta / 2))
        pull = counts * np.clip(residual, -delta, delta)
        return float(counts @ huber) / divisor, pull @ slopes / divisor

    ends = [
        minimize(
            objective,
            start,
            method="L-BFGS-B",
            jac=True,
            options={"gtol": tolerance, "ftol": 1e-15, "maxiter": 1000, "maxfun": 2000},
        )
        for start in starts
    ]
    return np.asarray(min(ends, key=lambda end: float(end.fun)).x, dtype=np.float64)


def most_promising(model: LogModel, log_loss: Floats, grid: Floats, *, keep: int) -> Floats:
    """Return the ``keep`` points of ``grid`` with the least absolute error: a descent from all of them buys no more."""
    errors = [float(np.abs(model(point)[0] - log_loss).sum()) for point in grid]
    return grid[np.argsort(errors)[:keep]]


def check_fit(reduction: str, **positives: float) -> None:
    """Refuse settings that no fit can have."""
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}.")
    for name, value in positives.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value!r}.")
