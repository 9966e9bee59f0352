"""Hoffmann's first two approaches: where the best size lies, from training curves and from IsoFLOP parabolas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.scaling._inputs import columns, positive
from course_lib.scaling.laws import Frontier

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class IsoFlop:
    """One valley of constant compute: ``loss = lowest_loss + curvature * (log N - log N_opt) ** 2``.

    Args:
        flops: The budget that all runs of the valley spent.
        num_parameters: N_opt, the bottom of the parabola.
        lowest_loss: The loss there.
        curvature: How steep the valley is, in nats for a factor e of size.
        inside: Whether the bottom lies between the smallest and the largest size tried. Outside it is a guess.
    """

    flops: float
    num_parameters: float
    lowest_loss: float
    curvature: float
    inside: bool

    def loss(self, num_parameters: ArrayLike) -> Floats:
        """Return the parabola's loss at other sizes."""
        distance = np.log(positive("num_parameters", num_parameters) / self.num_parameters)
        return np.asarray(self.lowest_loss + self.curvature * distance**2)


def fit_isoflops(num_parameters: ArrayLike, flops: ArrayLike, loss: ArrayLike) -> list[IsoFlop]:
    """Fit a parabola over the logarithm of the size to the runs of each budget: Hoffmann's second approach.

    Args:
        num_parameters: One entry a run.
        flops: The budget of each run; runs of one valley carry the same number.
        loss: Final losses, nats a token.

    Returns:
        One valley a budget, in order of budgets. Parabolas are symmetric where the law's valleys are not, so with
        unequal exponents or few, distant sizes the bottoms are a little off.

    Raises:
        ValueError: If a budget has fewer than three sizes, or its losses form a hill instead of a valley.

    Example:
        >>> valley, = fit_isoflops([1e6, 1e7, 1e8], [1e18] * 3, [3.5, 3.0, 3.5])
        >>> round(valley.num_parameters), round(valley.lowest_loss, 3), valley.inside
        (10000000, 3.0, True)

    Reference: Hoffmann et al. 2022, "Training compute-optimal large language models", section 3.2,
    https://arxiv.org/abs/2203.15556
    """
    n, c, losses = columns(3, num_parameters=num_parameters, flops=flops, loss=loss)
    return [_valley(float(budget), n[c == budget], losses[c == budget]) for budget in np.unique(c)]


def _valley(flops: float, n: Floats, losses: Floats) -> IsoFlop:
    if len(np.unique(n)) < 3:
        raise ValueError(
            f"a parabola needs three sizes at one budget, {flops:.3g} FLOP has {len(np.unique(n))}: give the runs of "
            "one valley the same number, and leave budgets with fewer sizes out."
        )
    log_n = np.log(n)
    middle = float(log_n.mean())
    curvature, slope, level = (float(value) for value in np.polyfit(log_n - middle, losses, 2))
    if curvature <= 0:
        raise ValueError(f"at {flops:.3g} FLOP the losses form no valley over sizes (curvature {curvature:.3g}).")
    bottom = middle - slope / (2 * curvature)
    inside = bool(log_n.min() < bottom < log_n.max())
    return IsoFlop(flops, float(np.exp(bottom)), level - slope**2 / (4 * curvature), curvature, inside)


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """The loss of one run as it went.

    Args:
        num_parameters: Size of the model.
        num_tokens: Tokens seen at each point, rising.
        loss: The loss there, smoothed if it is the training loss.

    Raises:
        ValueError: If the columns differ in length, are not positive, or tokens do not rise.
    """

    num_parameters: float
    num_tokens: Sequence[float]
    loss: Sequence[float]

    def __post_init__(self) -> None:
        tokens, _ = columns(2, num_tokens=self.num_tokens, loss=self.loss)
        if (np.diff(tokens) <= 0).any():
            raise ValueError("num_tokens of a training curve must rise from point to point.")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The lower envelope of training curves: for each budget the run that was best when it had spent it.

    Args:
        flops: Budgets, rising.
        num_parameters: Size of the best run at each budget.
        loss: Its loss there.

    Shape:
        - all: ``(budgets,)``
    """

    flops: Floats
    num_parameters: Floats
    loss: Floats


def envelope(curves: Sequence[TrainingCurve], *, num_budgets: int = 100) -> Envelope:
    """Return the lower envelope of curves over ``C = 6 N D``: Hoffmann's first approach.

    Losses are interpolated in the logarithm of the compute. Budgets at which the smallest or the largest size is best
    are left out, as a better one may lie outside. So are budgets before a curve that is the lowest where it begins, and
    budgets beyond one that is the lowest where it ends: there a size would win for want of another. (A curve that
    begins or ends behind another costs nothing: small sizes are ahead first, and one that is passed stays behind.)
    Curves of one long schedule are too high everywhere but at their end, where the rate has decayed: Hoffmann ran each
    size with four lengths of schedule for that reason.

    Args:
        curves: Runs of at least three sizes.
        num_budgets: Logarithmically spaced budgets to look at.

    Raises:
        ValueError: If there are fewer than three sizes, or no size between the smallest and the largest is ever best
            where the others can be compared with it.

    Reference: Hoffmann et al. 2022, "Training compute-optimal large language models", section 3.1,
    https://arxiv.org/abs/2203.15556
    """
    sizes = np.array([curve.num_parameters for curve in curves])
    if len(np.unique(sizes)) < 3:
        raise ValueError(f"an envelope needs curves of at least three sizes, got {len(np.unique(sizes))}.")
    if num_budgets < 2:
        raise ValueError(f"num_budgets must be at least 2, got {num_budgets}.")
    spent = [6 * curve.num_parameters * np.asarray(curve.num_tokens, dtype=np.float64) for curve in curves]
    budgets = np.geomspace(min(c[0] for c in spent), max(c[-1] for c in spent), num_budgets)
    losses_RC = _losses_at(curves, spent, budgets)
    best = losses_RC.argmin(axis=0)
    lowest = losses_RC[best, np.arange(num_budgets)]
    first, last = (
        [float(c[end]) for i, c in enumerate(spent) if _losses_at(curves, spent, c[[end]])[:, 0].argmin() == i]
        for end in (0, -1)
    )
    compared = np.isfinite(lowest) & (budgets >= max(first)) & (budgets <= min(last))
    inner = compared & (sizes[best] > sizes.min()) & (sizes[best] < sizes.max())
    if not inner.any():
        raise ValueError("no size between the smallest and the largest is ever best: run more sizes, or longer.")
    return Envelope(budgets[inner], sizes[best][inner], lowest[inner])


def _losses_at(curves: Sequence[TrainingCurve], spent: Sequence[Floats], budgets_C: Floats) -> Floats:
    """Return a row a curve: its loss at each budget, infinite where it has not begun or has ended."""
    return np.stack(
        [
            np.interp(np.log(budgets_C), np.log(c), np.asarray(curve.loss), left=np.inf, right=np.inf)
            for c, curve in zip(spent, curves, strict=True)
        ]
    )


def fit_frontier(flops: ArrayLike, num_parameters: ArrayLike) -> Frontier:
    """Fit ``N_opt = scale * C ** exponent`` by least squares of the logarithms.

    Args:
        flops: Budgets of at least two different sizes.
        num_parameters: The best size found at each, by `fit_isoflops` or `envelope`.

    Raises:
        ValueError: If columns differ in length, a value is not positive, or there is one budget only.

    Example:
        >>> frontier = fit_frontier([1e18, 1e20, 1e22], [1e8, 1e9, 1e10])
        >>> round(frontier.exponent, 3)
        0.5
    """
    c, n = columns(2, flops=flops, num_parameters=num_parameters)
    if len(np.unique(c)) < 2:
        raise ValueError(f"a frontier needs two different budgets, got {c[0]:.3g} FLOP only.")
    exponent, intercept = np.polyfit(np.log(c), np.log(n), 1)
    return Frontier(scale=float(np.exp(intercept)), exponent=float(exponent))
