"""The Frechet distance of two sets of features, each taken for a Gaussian, and what real data itself scores."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from course_lib.evaluation.generation.features import rows_of

# Shape letters used in this file: N, M = samples, D = features of each.

_FEW = 4  # samples a feature; with fewer the bias below is larger than most differences of interest


def frechet_distance(features: Tensor, other_features: Tensor) -> float:
    """``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`` of two sets' means m and covariances S.

    How far the mass of one Gaussian must be moved to become the other (the squared 2-Wasserstein distance). It sees
    means and covariances alone: two sets that agree in these have distance 0, whatever their samples look like. With
    the features of an Inception network it is known as FID; features of another network give other numbers.

    It is **biased upwards**, in proportion to ``1/N + 1/M``: two sets of standard normal vectors come out near
    ``D (D + 5) / 4 * (1/N + 1/M)``, where the truth is 0. So compare sets of equal sizes only, and look at
    `frechet_floor` beside it.

    Args:
        features: Of one set, a row a sample.
        other_features: Of the other; the order of the two does not matter.

    Shape:
        - features: ``(N, D)``, floating point, ``N >= 2``
        - other_features: ``(M, D)``, floating point, ``M >= 2``

    Returns:
        The distance, in squared units of the features, computed in float64. 0 is perfect. There is no chance level:
        take the distance of some simple model, or of noise. Covariances divide by ``N - 1``.

    Raises:
        ValueError: If the two are no matrices of one width, there are fewer than two samples, or a number is not
            finite.

    Warns:
        UserWarning: If there are fewer than four samples a feature in one of the sets.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]]).repeat(8, 1)
        >>> round(frechet_distance(x, x + 3), 6)  # the mean moved by 3, the spread is the same
        9.0

    Reference: Dowson and Landau 1982, The Frechet distance between multivariate normal distributions, eq. 4; Heusel et
    al. 2017, eq. 6 (for samples of a network), https://arxiv.org/abs/1706.08500; Chong and Forsyth 2020, Effectively
    unbiased FID and Inception score (the bias), https://arxiv.org/abs/1911.07023
    """
    first, other = rows_of("features", features), rows_of("other_features", other_features)
    _check(first, other)
    if (fewest := min(len(first), len(other))) < _FEW * first.shape[1]:
        warnings.warn(
            f"{fewest} samples of {first.shape[1]} features: the Frechet distance is biased upwards by much. Take "
            f"{_FEW * first.shape[1]} samples or more, and compare with frechet_floor at the same number.",
            stacklevel=2,
        )
    return _distance(first, other)


def frechet_floor(
    real: Tensor, *, num_samples: int | None = None, num_others: int | None = None, num_splits: int = 10, seed: int
) -> Tensor:
    """Return the Frechet distances of real data from itself: between disjoint random parts of it.

    What a perfect generator would score, which is not 0, because the distance is biased. Take parts as large as the
    sets that you compare: ``num_samples`` generated ones against ``num_others`` real ones.

    Args:
        real: Features of real data.
        num_samples: Rows of the one part; half of the rows by default.
        num_others: Rows of the other; as many as ``num_samples`` by default.
        num_splits: How often to cut. Cuts overlap, so their spread is less than that of fresh data.
        seed: Decides who goes where.

    Shape:
        - real: ``(N, D)``, floating point
        - output: ``(num_splits,)``, float64

    Returns:
        One distance a cut. A generator whose distance lies among them cannot be told from real data by this measure.

    Raises:
        ValueError: As `frechet_distance`, or if ``real`` has too few rows for two disjoint parts.

    Warns:
        UserWarning: As `frechet_distance`.

    Example:
        >>> real = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> floor = frechet_floor(real, num_samples=200, seed=0)
        >>> round(floor.mean().item(), 2), 2 * (2 + 5) / 4 * (1 / 200 + 1 / 200)  # measured, expected
        (0.04, 0.035)
    """
    rows = rows_of("real", real)
    num_samples = len(rows) // 2 if num_samples is None else num_samples
    num_others = num_samples if num_others is None else num_others
    if min(num_samples, num_others) < 2 or num_samples + num_others > len(rows):
        raise ValueError(
            f"the floor needs two disjoint parts of at least 2 rows, got num_samples={num_samples} and "
            f"num_others={num_others} of {len(rows)} real rows: take smaller parts or more real data."
        )
    if num_splits < 1:
        raise ValueError(f"num_splits must be at least 1, got {num_splits}.")
    if min(num_samples, num_others) < _FEW * rows.shape[1]:
        warnings.warn(
            f"{min(num_samples, num_others)} samples of {rows.shape[1]} features: this floor is far above 0, and "
            f"hides differences below it. Take {_FEW * rows.shape[1]} samples or more.",
            stacklevel=2,
        )
    _check(rows, rows)
    generator = torch.Generator().manual_seed(seed)
    distances = []
    for _ in range(num_splits):
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        one, other = rows[order[:num_samples]], rows[order[num_samples : num_samples + num_others]]
        distances.append(_distance(one, other))
    return torch.tensor(distances, dtype=torch.float64)


def _distance(first: Tensor, other: Tensor) -> float:
    """The formula by triangular factors of the covariances, ``S = R' R``.

    The eigenvalues of ``S1 S2`` are the squared singular values of ``R1 R2'``, so the trace of the root is the sum of
    those. No root of a matrix is taken, and rounding errors of tiny eigenvalues are not blown up by a square root.
    """
    factors = [
        torch.linalg.qr(rows - rows.mean(0), mode="r").R / (len(rows) - 1) ** 0.5 for rows in (first, other)
    ]  # (min(N, D), D) each
    spread = sum(float(factor.square().sum()) for factor in factors)
    shared = float(torch.linalg.svdvals(factors[0] @ factors[1].T).sum())
    apart = float((first.mean(0) - other.mean(0)).square().sum())
    return max(0.0, apart + spread - 2 * shared)


def _check(first: Tensor, other: Tensor) -> None:
    if first.shape[1] != other.shape[1]:
        raise ValueError(
            f"both sets need the same features, got {first.shape[1]} and {other.shape[1]} columns: "
            "take both from one network."
        )
    if min(len(first), len(other)) < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {len(first)} and {len(other)}.")
