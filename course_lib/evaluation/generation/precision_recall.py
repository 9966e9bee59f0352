"""Precision and recall of a generator: which share of its samples could be real, and of real ones could be its."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.evaluation.generation.features import distances_in_parts, rows_of

# Shape letters used in this file: N = real samples, M = generated samples, D = features of each.


class PrecisionRecall(NamedTuple):
    """Quality and variety of samples, apart.

    Args:
        precision: Share of the generated samples that lie where real data does.
        recall: Share of the real samples that lie where generated ones do.
    """

    precision: float
    recall: float


def precision_recall(real: Tensor, generated: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Return the share of samples within reach of real data, and the share of real data within reach of samples.

    A set reaches as far as balls around its points, each with the distance to its ``k``-th nearest neighbour in the set
    as radius. A generator that draws one perfect image for ever has precision 1 and recall 0; one that draws noise all
    over the place has recall 0 as well, unless its balls are large: **a few far outliers among the samples make their
    balls huge and recall high.** One number, as the Frechet distance is, cannot tell blurred from monotonous.

    Args:
        real: Features of real data.
        generated: Features of samples, from the same network. Take as many as of ``real``.
        k: Which neighbour gives the radius; larger is more forgiving. The paper's is 3.

    Shape:
        - real: ``(N, D)``, floating point, ``N > k``
        - generated: ``(M, D)``, floating point, ``M > k``

    Returns:
        Two numbers from 0 to 1, computed in float64. 1 is the most there is, but fresh real data does not reach it
        either: take ``precision_recall(half, other_half)`` of real data as the best possible.

    Raises:
        ValueError: If the two are no matrices of one width, ``k`` is less than 1 or leaves no neighbour, or a number
            is not finite.

    Example:
        >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> precision_recall(real, torch.tensor([[1.2], [1.3], [1.4], [9.0]]), k=1)  # 9.0 reaches down to 1.4
        PrecisionRecall(precision=0.75, recall=0.5)

    Reference: Kynkaanniemi et al. 2019, Improved precision and recall metric for assessing generative models, eq. 1
    and 2, https://arxiv.org/abs/1904.06991
    """
    real_ND, generated_MD = rows_of("real", real), rows_of("generated", generated)
    if real_ND.shape[1] != generated_MD.shape[1]:
        raise ValueError(
            f"both sets need the same features, got {real_ND.shape[1]} and {generated_MD.shape[1]} columns: "
            "take both from one network."
        )
    if not 1 <= k < min(len(real_ND), len(generated_MD)):
        raise ValueError(
            f"k must be at least 1 and less than the number of samples in each set, got k={k} for {len(real_ND)} real "
            f"and {len(generated_MD)} generated ones."
        )
    return PrecisionRecall(_reached(generated_MD, real_ND, k), _reached(real_ND, generated_MD, k))


def _reached(points: Tensor, others: Tensor, k: int) -> float:
    """The share of ``points`` that lie in the ball of at least one of ``others``."""
    within = [part.kthvalue(k + 1).values for part in distances_in_parts(others, others)]  # the nearest is itself
    radii = torch.cat(within)
    hits = [(part <= radii).any(dim=1) for part in distances_in_parts(points, others)]
    return float(torch.cat(hits).double().mean())
