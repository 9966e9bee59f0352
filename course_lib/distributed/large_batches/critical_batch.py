"""What a larger batch buys: fewer steps for more examples, up to the critical batch size; and rules for its rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Rule = Literal["linear", "square root", "constant"]


@dataclass(frozen=True, slots=True)
class CriticalBatch:
    """The trade of steps against examples on the way to one level of loss.

    ``(S / S_min - 1) (E / E_min - 1) = 1``: with tiny batches nothing is wasted and E_min examples do, with huge ones
    nothing is left to gain and S_min steps do, and at the critical size ``E_min / S_min`` both cost twice the least.

    Args:
        min_steps: S_min, what the largest batch would need.
        min_examples: E_min, what the smallest would need.

    Raises:
        ValueError: If one is not positive.

    Example:
        >>> trade = CriticalBatch(min_steps=1000, min_examples=256_000)
        >>> trade.size, trade.steps(256), trade.examples(256)
        (256.0, 2000.0, 512000.0)
        >>> trade.steps(2560), trade.examples(2560)  # ten times the size: 1.8 times fewer steps, 5.5 times the examples
        (1100.0, 2816000.0)

    Reference: McCandlish, Kaplan, Amodei et al. 2018, "An empirical model of large-batch training", eq. 2.11,
    https://arxiv.org/abs/1812.06162
    """

    min_steps: float
    min_examples: float

    def __post_init__(self) -> None:
        if not 0 < self.min_steps < math.inf or not 0 < self.min_examples < math.inf:
            raise ValueError(
                f"min_steps and min_examples must be positive, got {self.min_steps} and {self.min_examples}."
            )

    @property
    def size(self) -> float:
        """The critical batch size."""
        return self.min_examples / self.min_steps

    def steps(self, batch_size: float) -> float:
        """Return the steps that a batch size needs."""
        return self.min_steps * (1 + self.size / batch_size)

    def examples(self, batch_size: float) -> float:
        """Return the examples that a batch size needs."""
        return self.min_examples * (1 + batch_size / self.size)


def fit_critical_batch(batch_sizes: Sequence[float], steps: Sequence[float]) -> CriticalBatch:
    """Fit the trade to the steps that runs with several batch sizes took to the same loss, each at its own best rate.

    ``steps = S_min + E_min / B`` is a straight line in 1 / B; it is fitted by least squares of the relative error.

    Args:
        batch_sizes: Of the runs, three or more.
        steps: That each needed.

    Raises:
        ValueError: If there are too few runs, a value is not positive, or the steps do not fit: they must fall with the
            batch size, and not faster than its inverse.

    Example:
        >>> fit = fit_critical_batch([16, 64, 256, 1024], [1700, 500, 200, 125])
        >>> round(fit.min_steps), round(fit.min_examples), round(fit.size)
        (100, 25600, 256)
    """
    sizes, needed = np.asarray(batch_sizes, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    if sizes.shape != needed.shape or sizes.ndim != 1 or len(set(sizes.tolist())) < 3:
        raise ValueError(f"expected three or more batch sizes with a number of steps each, got {list(batch_sizes)}.")
    if not ((sizes > 0) & (needed > 0) & np.isfinite(needed)).all():
        raise ValueError("batch sizes and steps must be positive and finite: leave out runs that did not get there.")
    rows = np.stack([np.ones_like(sizes), 1 / sizes], axis=1) / needed[:, None]
    min_steps, min_examples = np.linalg.lstsq(rows, np.ones_like(needed), rcond=None)[0]
    if min_steps <= 0 or min_examples <= 0:
        way = "do not fall with the batch size" if min_examples <= 0 else "fall faster than the batch size grows"
        raise ValueError(f"these steps {way}: were rates tuned for each size, and is the loss reached past warmup?")
    return CriticalBatch(float(min_steps), float(min_examples))


def scaled_rate(rate: float, *, batch_size: float, new_batch_size: float, rule: Rule = "linear") -> float:
    """Return the learning rate that a rule of thumb gives for another batch size.

    - linear, for SGD: k times the batch is like k small steps in one, as long as the weights hardly change meanwhile.
      Holds up to about the critical batch size, and needs a warmup.
    - square root, for Adam and LAMB: their steps are normalised by the gradient's noise, which falls as 1 / sqrt(B).
    - constant: what one gets by doing nothing.

    Args:
        rate: Tuned at ``batch_size``.
        batch_size: Where it was tuned.
        new_batch_size: Where it is wanted.
        rule: Which.

    Raises:
        ValueError: If a number is not positive, or there is no such rule.

    Example:
        >>> [scaled_rate(0.1, batch_size=256, new_batch_size=4096, rule=r) for r in ("linear", "square root")]
        [1.6, 0.4]

    Reference: Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.1,
    https://arxiv.org/abs/1706.02677; Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient
    algorithms", https://arxiv.org/abs/2205.10287
    """
    if not (rate > 0 and batch_size > 0 and new_batch_size > 0):
        raise ValueError(f"rate and batch sizes must be positive, got {rate}, {batch_size} and {new_batch_size}.")
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be one of {get_args(Rule)}, got {rule!r}.")
    exponent = {"linear": 1.0, "square root": 0.5, "constant": 0.0}[rule]
    return rate * math.pow(new_batch_size / batch_size, exponent)


def step_efficiency(batch_size: float, noise_scale: float) -> float:
    """Return how much of the largest possible progress a step at the best rate makes, ``1 / (1 + noise scale / B)``.

    The best rate itself follows the same curve: linear in the batch size far below the noise scale, constant far above.
    It is derived for a quadratic loss and a noise scale that weighs directions by their curvature. What is measured is
    the simple one without curvature (`NoiseScale`), equal to it where the loss curves alike in all directions.

    Args:
        batch_size: B, in targets.
        noise_scale: In targets.

    Returns:
        0 to 1; one half where the batch is as large as the noise scale.

    Raises:
        ValueError: If the batch is empty or the noise scale negative.

    Example:
        >>> step_efficiency(100, 100), step_efficiency(10_000, 100) > 0.99
        (0.5, True)

    Reference: McCandlish et al. 2018, eq. 2.5 and 2.6
    """
    if not batch_size > 0 or not noise_scale >= 0:
        raise ValueError(f"expected a batch size above 0, a noise scale of 0 or more; got {batch_size}, {noise_scale}.")
    return 1 / (1 + noise_scale / batch_size)
