"""How good a reward model is: how often it ranks a pair rightly, and whether its confidence is to be believed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.losses.conventions import check_same_shape

# Shape letters used in this file: N = pairs, K = bins.


def reward_accuracy(chosen: Tensor, rejected: Tensor) -> float:
    """Return how often the preferred one has the higher reward; a tie counts half.

    Args:
        chosen: Rewards of what was preferred.
        rejected: Rewards of what it was preferred to.

    Shape:
        - chosen, rejected: ``(N,)``

    Returns:
        0.5 at chance level. At best not 1 but the rater's `SimulatedRater.ceiling`: its noise cannot be predicted. (On
        few pairs it may come out above, by luck.)

    Raises:
        ValueError: If the shapes differ, there are no pairs, or a reward is not finite.

    Example:
        >>> reward_accuracy(torch.tensor([2.0, 0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0, 1.0]))
        0.625
    """
    margins = _margins(chosen, rejected)
    return float(((margins > 0).double() + (margins == 0).double() / 2).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a reward model claimed, beside what came of it, over bins of pairs about which it was equally sure.

    Args:
        claimed: Mean probability that the one with the higher reward is preferred; from 0.5 to 1.
        observed: How often it was, or (with the rater's probabilities given) would be on average.
        count: Pairs in the bin; at least 1.
        error: Mean gap between the two over all pairs: the expected calibration error.

    Shape:
        - claimed, observed: ``(K,)``, float64; count: ``(K,)``, int64
    """

    claimed: Tensor
    observed: Tensor
    count: Tensor
    error: float


def reward_calibration(
    chosen: Tensor, rejected: Tensor, *, probability: Tensor | None = None, num_bins: int = 10
) -> Calibration:
    """Compare ``sigmoid(reward - other reward)`` with how often the rater agreed.

    Each pair is looked at from the side of the one with the higher reward. A model that is right about the noise too
    lies on the diagonal: of the pairs it is 80 % sure of, 80 % come out so.

    Args:
        chosen: Rewards of what was preferred.
        rejected: Rewards of what it was preferred to.
        probability: The rater's own probability for the chosen one, where it is known: no noise of single answers then.
        num_bins: Bins of equal width on [0.5, 1]; empty ones are left out.

    Shape:
        - chosen, rejected, probability: ``(N,)``

    Returns:
        An error of 0 for a calibrated model, up to 1. With few pairs a bin noise alone lifts it.

    Raises:
        ValueError: If the shapes differ, there are no pairs, a reward is not finite, ``probability`` is none, or
            ``num_bins`` is less than 1.

    Example:
        >>> margins = torch.tensor([3.0, 3.0, 3.0, 1 / 3]).log()  # 75 % sure, four times, and wrong once
        >>> calibration = reward_calibration(margins, torch.zeros(4))
        >>> calibration.claimed, calibration.observed, round(calibration.error, 6)
        (tensor([0.7500], dtype=torch.float64), tensor([0.7500], dtype=torch.float64), 0.0)

    Reference: for the error Guo et al. 2017, On calibration of modern neural networks, https://arxiv.org/abs/1706.04599
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}.")
    margins = _margins(chosen, rejected)
    outcome = torch.ones_like(margins) if probability is None else probability.detach().cpu().double()
    if outcome.shape != margins.shape or not bool(((outcome >= 0) & (outcome <= 1)).all()):
        raise ValueError(
            f"probability must be one number in [0, 1] for each of {len(margins)} pairs, got {tuple(outcome.shape)}."
        )
    sure = margins.abs().sigmoid()
    came = torch.where(margins > 0, outcome, 1 - outcome).where(margins != 0, torch.tensor(0.5).double())
    edges = torch.linspace(0.5, 1, num_bins + 1, dtype=torch.float64)
    bins = torch.bucketize(sure, edges[1:-1])
    count = torch.bincount(bins, minlength=num_bins)
    claimed, observed = (torch.zeros(num_bins).double().index_add(0, bins, each) for each in (sure, came))
    error = float((claimed - observed).abs().sum() / len(margins))
    used = count > 0
    return Calibration(claimed[used] / count[used], observed[used] / count[used], count[used], error)


def _margins(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Return by how much the chosen ones' rewards are higher, in float64 on the CPU."""
    check_same_shape(chosen=chosen, rejected=rejected)
    if chosen.ndim != 1 or len(chosen) == 0:
        raise ValueError(f"rewards must be (N,), one for each of some pairs, got {tuple(chosen.shape)}.")
    margins = chosen.detach().cpu().double() - rejected.detach().cpu().double()
    if not margins.isfinite().all():
        raise ValueError(
            f"{int((~margins.isfinite()).sum())} of {len(margins)} pairs have a reward that is not finite."
        )
    return margins
