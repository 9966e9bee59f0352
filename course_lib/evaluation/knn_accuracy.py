"""What the nearest training rows say: a measure of features that fits nothing."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from course_lib.evaluation._inputs import class_numbers, matrix, unit_rows

# Shape letters used in this file: N = training rows, M = test rows of a chunk, D = features.

Metric = Literal["cosine", "euclidean"]
CHUNK = 1024  # test rows compared with all training rows at once


def knn_accuracy(
    features: Tensor,
    labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: int = 5,
    metric: Metric = "cosine",
) -> float:
    """Return the accuracy of the commonest class among each test row's ``k`` nearest training rows.

    High when samples of one class lie near each other. Unlike a linear probe it cannot choose which directions of the
    feature space to look at. Among equally common classes the one with the nearest row wins.

    Args:
        features: Of the training rows.
        labels: Of these.
        test_features: Of other rows.
        test_labels: Of these.
        k: How many neighbours vote.
        metric: What "near" means: the angle between rows, or their distance.

    Shape:
        - features: ``(N, D)``; test_features: ``(M, D)``; floating point
        - labels: ``(N,)``; test_labels: ``(M,)``; int64

    Returns:
        From 0 to 1; about one in K for K equal classes when the features say nothing.

    Raises:
        ValueError: If shapes or dtypes do not fit, features are not finite, ``k`` is not from 1 to N, or ``metric`` is
            neither of the two.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> knn_accuracy(x, torch.tensor([0, 0, 1]), torch.tensor([[2.0, 0.3]]), torch.tensor([0]), k=3)
        1.0

    Reference: Wu, Xiong, Yu and Lin 2018, Unsupervised feature learning via non-parametric instance discrimination,
    section 3.4 (there votes are weighted), https://arxiv.org/abs/1805.01978
    """
    if metric not in get_args(Metric):
        raise ValueError(f'metric must be "cosine" or "euclidean", got {metric!r}.')
    read = unit_rows if metric == "cosine" else matrix
    known = read("features", features)
    asked = read("test_features", test_features, width=known.shape[1])
    labels = class_numbers("labels", labels, rows=len(known))
    test_labels = class_numbers("test_labels", test_labels, rows=len(asked))
    if not 1 <= k <= len(known):
        raise ValueError(f"k must be from 1 to the number of training rows, {len(known)}, got {k}.")
    # of |a - b|^2 what depends on b; of rows of length 1 (zeros are at right angles to all) that is the cosine
    lengths = known.square().sum(dim=1) if metric == "euclidean" else torch.zeros_like(known[:, 0])
    guesses = [_vote(lengths - 2 * rows_MD @ known.T, labels, k) for rows_MD in torch.split(asked, CHUNK)]
    return float((torch.cat(guesses) == test_labels).double().mean())


def _vote(distances_MN: Tensor, labels: Tensor, k: int) -> Tensor:
    nearest = labels[distances_MN.topk(k, largest=False).indices]  # (M, k), nearest first
    places = torch.arange(1, k + 1, dtype=distances_MN.dtype, device=distances_MN.device)
    tie_break = 0.5**places  # sums to less than one vote, the first outweighs all
    votes = distances_MN.new_zeros(len(distances_MN), int(labels.max()) + 1)
    return votes.scatter_add_(1, nearest, (1 + tie_break).expand_as(nearest)).argmax(dim=1)
