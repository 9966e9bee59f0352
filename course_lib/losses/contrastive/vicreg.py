"""VICReg: views agree (invariance), features keep their spread (variance) and differ from each other (covariance)."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.contrastive.rows import all_rows, check_weights, full_precision, off_diagonal
from course_lib.losses.conventions import check_positive

# Shape letters used in this file: N = samples in the batch, D = features.


def vicreg(
    first: Tensor,
    second: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    eps: float = 1e-4,
) -> Tensor:
    """Weighted sum of three terms, of which the second forbids collapse openly instead of by negatives.

    - invariance: mean squared difference of the two views, over rows **and features**;
    - variance: ``max(0, 1 - std)``, averaged over features and over the two views;
    - covariance: squared entries off the diagonal, summed, divided by D, **added up** over the two views.

    These are the authors' program's conventions, to which the default weights belong; the paper's equations sum the
    invariance over features and the variance over views.

    Under a process group all three are taken over the rows of all ranks; see `info_nce`.

    Args:
        first: One view of each sample. Nothing is normalised.
        second: Another view of each, in the same order.
        invariance: Weight of the first term; 0 leaves a term out.
        variance: Weight of the second.
        covariance: Weight of the third.
        eps: Added to each variance below its square root, whose slope is infinite at 0.

    Shape:
        - first, second: ``(N, D)``, floating point, ``N >= 2`` over all ranks
        - output: ``()``

    Returns:
        0 at best. Collapsed embeddings cost ``variance * (1 - sqrt(eps))``, 24.75 by default. Variances and covariances
        divide by ``N - 1``.

    Raises:
        ValueError: If the shapes differ, there is only one row, ranks hold different numbers of rows, a weight is
            negative, or ``eps`` is not positive.

    Example:
        >>> vicreg(torch.ones(4, 3), torch.ones(4, 3))  # collapsed
        tensor(24.7500)

    Reference: Bardes, Ponce and LeCun 2022, VICReg: variance-invariance-covariance regularization for self-supervised
    learning, eq. 1 to 6 and algorithm 1, https://arxiv.org/abs/2105.04906
    """
    check_weights(invariance=invariance, variance=variance, covariance=covariance)
    check_positive("eps", eps)
    first, second = all_rows("vicreg", first=first, second=second)
    agreement = (first - second).square().mean()
    spread = (_missing_spread(first, eps) + _missing_spread(second, eps)) / 2
    redundancy = _redundancy(first) + _redundancy(second)
    return invariance * agreement + variance * spread + covariance * redundancy


def _missing_spread(rows: Tensor, eps: float) -> Tensor:
    return torch.relu(1 - torch.sqrt(rows.var(dim=0) + eps)).mean()


def _redundancy(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=0)
    with full_precision(rows):
        covariance_DD = centred.T @ centred / (len(rows) - 1)
    return off_diagonal(covariance_DD) / rows.shape[1]
