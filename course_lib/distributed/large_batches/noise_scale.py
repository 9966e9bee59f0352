"""The gradient noise scale: how large a batch must be before its gradient is more signal than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """What gradients of batches of different sizes tell of signal and noise.

    Args:
        noise: Estimate of tr(Sigma): the variance of one target's gradient, summed over all parameters.
        signal: Estimate of the squared length of the true gradient. Both estimates are unbiased, so a single one may
            come out negative: average many before dividing.
    """

    noise: float
    signal: float

    @property
    def value(self) -> float:
        """The simple noise scale ``tr(Sigma) / |G|^2``, in targets; infinite where no signal was found."""
        return max(self.noise, 0.0) / self.signal if self.signal > 0 else math.inf

    def square_of(self, batch_size: float) -> float:
        """Return the expected squared length of the gradient of a batch, ``|G|^2 + tr(Sigma) / B``."""
        return self.signal + self.noise / batch_size


def noise_scale(sizes: Sequence[float], squares: Sequence[float], *, whole_square: float) -> NoiseScale:
    """Estimate the noise scale from the gradients of parts of a batch and of the whole.

    The mean gradient over B independent targets has the expected squared length ``|G|^2 + tr(Sigma) / B``. The parts
    give it at their small sizes, the whole batch at its large one: two equations for two unknowns. Data parallelism
    has both at hand anyway: each rank's gradient before the all-reduce, and the mean after it.

    Args:
        sizes: Targets in each part.
        squares: Squared lengths of the parts' MEAN gradients.
        whole_square: Squared length of the mean gradient over all targets.

    Returns:
        The two estimates; average them separately over steps, and divide then (`NoiseScale.value`).

    Raises:
        ValueError: If there are fewer than two parts, or a part is empty.

    Example:
        >>> estimate = noise_scale([1, 1], [1.0, 1.0], whole_square=0.5)  # two orthogonal gradients: all is noise
        >>> estimate.noise, estimate.signal
        (1.0, 0.0)
        >>> noise_scale([4, 4, 4], [9.0, 9.0, 9.0], whole_square=9.0).value  # three equal ones: none is
        0.0

    Reference: McCandlish, Kaplan, Amodei et al. 2018, "An empirical model of large-batch training", appendix A.1,
    https://arxiv.org/abs/1812.06162
    """
    if len(sizes) != len(squares) or len(sizes) < 2 or min(sizes) <= 0:
        raise ValueError(
            "the noise shows in differences between parts of a batch: expected two or more that are not empty, got "
            f"sizes {list(sizes)} and {len(squares)} squares."
        )
    inverse_small = sum(1 / size for size in sizes) / len(sizes)
    inverse_big = 1 / sum(sizes)
    mean_square = sum(squares) / len(squares)
    noise = (mean_square - whole_square) / (inverse_small - inverse_big)
    return NoiseScale(noise, whole_square - noise * inverse_big)


class AveragedNoiseScale:
    """Noise and signal averaged over steps, each by itself, because a ratio of noisy numbers is biased.

    Until ``1 / (1 - decay)`` estimates are there it is their plain mean, then a moving average.

    Args:
        decay: Share of the average that a new estimate leaves; 0 keeps the newest alone.

    Raises:
        ValueError: If ``decay`` is not in [0, 1).

    Example:
        >>> average = AveragedNoiseScale(decay=0.9)
        >>> for noise in (1.0, 3.0):
        ...     average.add(NoiseScale(noise, signal=0.5))
        >>> average.estimate.noise, average.estimate.value
        (2.0, 4.0)
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.decay = decay
        self.num_estimates = 0
        self.estimate = NoiseScale(0.0, 0.0)

    def add(self, new: NoiseScale) -> None:
        """Take another estimate into the averages."""
        self.num_estimates += 1
        share = max(1 - self.decay, 1 / self.num_estimates)
        old = self.estimate
        self.estimate = NoiseScale(
            old.noise + share * (new.noise - old.noise), old.signal + share * (new.signal - old.signal)
        )

    def state_dict(self) -> dict[str, float]:
        """Return what is needed to go on."""
        return {
            "num_estimates": self.num_estimates,
            "noise": self.estimate.noise,
            "signal": self.estimate.signal,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what `state_dict` returned."""
        self.num_estimates = int(state["num_estimates"])
        self.estimate = NoiseScale(state["noise"], state["signal"])
