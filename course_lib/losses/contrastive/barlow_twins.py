"""Barlow Twins: each feature agrees with itself across views, and says nothing that another feature says."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.contrastive.rows import all_rows, check_weights, full_precision, off_diagonal
from course_lib.losses.conventions import check_positive

# Shape letters used in this file: N = samples in the batch, D = features.


def barlow_twins(first: Tensor, second: Tensor, *, redundancy: float = 0.005, eps: float = 1e-5) -> Tensor:
    """How far the features' cross-correlation between two views is from the identity, as a sum over its entries.

    The diagonal asks for features that the augmentations do not change, the rest for features that differ from each
    other: collapse fails at the diagonal, because a constant correlates with nothing. No negatives are needed.

    Under a process group the correlation is taken over the rows of all ranks; see `info_nce`.

    Args:
        first: One view of each sample. Features are brought to mean 0 and variance 1 over the batch here.
        second: Another view of each, in the same order.
        redundancy: What an entry off the diagonal counts against one on it; the paper's lambda.
        eps: Added to each variance, as in batch norm.

    Shape:
        - first, second: ``(N, D)``, floating point, ``N >= 2`` over all ranks
        - output: ``()``

    Returns:
        ``D`` for collapsed embeddings, about ``D + redundancy * D * (D - 1) / N`` for unrelated ones, and 0 at best
        (to rounding by ``eps``), which needs N > D.

    Raises:
        ValueError: If the shapes differ, there is only one row, ranks hold different numbers of rows, ``redundancy``
            is negative, or ``eps`` is not positive.

    Example:
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # two unrelated features
        >>> barlow_twins(x, x, eps=1e-9), barlow_twins(x, -x, eps=1e-9)  # 0, and 2 * (1 + 1)^2
        (tensor(0.), tensor(8.))

    Reference: Zbontar, Jing, Misra, LeCun and Deny 2021, Barlow Twins: self-supervised learning via redundancy
    reduction, eq. 1 and 2, https://arxiv.org/abs/2103.03230
    """
    check_weights(redundancy=redundancy)
    check_positive("eps", eps)
    first, second = all_rows("barlow_twins", first=first, second=second)
    with full_precision(first):
        correlation_DD = _standardised(first, eps).T @ _standardised(second, eps) / len(first)
    return (1 - correlation_DD.diagonal()).square().sum() + redundancy * off_diagonal(correlation_DD)


def _standardised(rows: Tensor, eps: float) -> Tensor:
    variance, mean = torch.var_mean(rows, dim=0, correction=0)
    return (rows - mean) * torch.rsqrt(variance + eps)
