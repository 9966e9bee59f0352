"""Which training examples samples are nearest to: whether a model has learnt them by heart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.evaluation.generation.features import distances_in_parts, rows_of

# Shape letters used in this file: N = generated, M = training examples, k = neighbours of each.


class Neighbours(NamedTuple):
    """The nearest examples of each sample, nearest first.

    Args:
        distances: Euclidean, ``(N, k)``, float64.
        indices: Rows of the training set, ``(N, k)``, int64.
    """

    distances: Tensor
    indices: Tensor


def nearest_neighbours(generated: Tensor, training: Tensor, *, k: int = 1) -> Neighbours:
    """Return the ``k`` training examples nearest to each sample.

    A model that has memorised draws its training set again, and every distance is near 0. What is near? Compare with
    real images that were held out: **samples that are much nearer to the training set than those are copies.** Of
    pixels the distance knows nothing of shifts or strokes; take the features of a classifier besides.

    Args:
        generated: Samples, or held-out data to compare with: images or features.
        training: What the model has learnt from, of the same kind.
        k: How many neighbours.

    Shape:
        - generated: ``(N, ...)``, floating point; images are flattened
        - training: ``(M, ...)``, floating point, ``M >= k``

    Returns:
        `Neighbours`, computed in float64 from differences, so that an exact copy has distance exactly 0.

    Raises:
        ValueError: If the two are not of one shape, ``k`` is not from 1 to M, or a number is not finite.

    Example:
        >>> training = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
        >>> found = nearest_neighbours(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), training, k=2)
        >>> found.indices.tolist(), found.distances[0].tolist()
        ([[1, 0], [0, 1]], [0.0, 5.0])
    """
    if generated.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"samples and training examples must have one shape, got {tuple(generated.shape[1:])} and "
            f"{tuple(training.shape[1:])}."
        )
    rows = rows_of("generated", generated, flatten=True)
    examples = rows_of("training", training, flatten=True)
    if not 1 <= k <= len(examples):
        raise ValueError(f"k must lie in 1 to the number of training examples ({len(examples)}), got {k}.")
    found = [part.topk(k, largest=False) for part in distances_in_parts(rows, examples)]
    return Neighbours(torch.cat([each.values for each in found]), torch.cat([each.indices for each in found]))
