"""Two numbers that say what a contrastive loss does to embeddings: views agree, and all of them spread out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.evaluation._inputs import unit_rows

# Shape letters used in this file: N = rows, D = width.

CHUNK = 1024  # rows compared with all others at once


def alignment(first: Tensor, second: Tensor) -> float:
    """Return the mean squared distance between the embeddings of two views of each sample, on the unit sphere.

    Low when the augmentations change little; 0 for a collapsed encoder too, so read it together with `uniformity`.

    Args:
        first: One view of each sample. Rows are scaled to length 1 here.
        second: Another view of each, in the same order.

    Shape:
        - first, second: ``(N, D)``, floating point

    Returns:
        From 0 (equal) over 2 (unrelated directions) to 4 (opposite).

    Raises:
        ValueError: If the shapes differ, or a row is not finite.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))  # 0 and 2
        1.0

    Reference: Wang and Isola 2020, Understanding contrastive representation learning through alignment and uniformity
    on the hypersphere, section 4.1 (with alpha 2), https://arxiv.org/abs/2005.10242
    """
    if first.shape != second.shape:
        raise ValueError(
            f"alignment needs two views of the same rows, got first {tuple(first.shape)} and second "
            f"{tuple(second.shape)}."
        )
    difference = unit_rows("first", first) - unit_rows("second", second)
    return float(difference.square().sum(dim=1).mean())


def uniformity(embeddings: Tensor, *, t: float = 2.0) -> float:
    """Return ``log(mean(exp(-t * distance^2)))`` over all pairs of different rows, on the unit sphere.

    Low when embeddings spread evenly over the sphere, so that no direction is wasted.

    Args:
        embeddings: Of different samples. Rows are scaled to length 1 here.
        t: How fast a pair's share falls with its distance; positive.

    Shape:
        - embeddings: ``(N, D)``, floating point, ``N >= 2``

    Returns:
        0 when all embeddings are equal. Spread evenly over a circle -1.58 (t = 2), over a sphere of many dimensions
        about ``-2 * t``; never below ``-2 * t * N / (N - 1)``.

    Raises:
        ValueError: If there are fewer than two rows, one is not finite, or ``t`` is not positive.

    Example:
        >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))  # one pair, squared distance 4
        -8.0

    Reference: Wang and Isola 2020, section 4.1, https://arxiv.org/abs/2005.10242
    """
    if not (math.isfinite(t) and t > 0):
        raise ValueError(f"t must be positive and finite, got {t!r}; 2 is usual.")
    rows = unit_rows("embeddings", embeddings)
    if len(rows) < 2:
        raise ValueError("uniformity looks at pairs of rows and needs at least 2, got 1.")
    sums = []
    for start in range(0, len(rows), CHUNK):
        exponents = -t * torch.cdist(rows[start : start + CHUNK], rows).square()
        itself = torch.arange(len(exponents), device=rows.device)
        exponents[itself, start + itself] = -math.inf
        sums.append(exponents.logsumexp(dim=(0, 1)))
    return float(torch.stack(sums).logsumexp(dim=0)) - math.log(len(rows) * (len(rows) - 1))
