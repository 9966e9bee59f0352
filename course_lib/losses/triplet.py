"""Triplet loss: nearer to one's own kind than to others, by a margin."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened


def triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """``max(0, |anchor - positive| - |anchor - negative| + margin)`` with Euclidean distances.

    Only the order of distances matters, not their size. Triplets that hold already teach nothing, so which ones are
    picked decides how fast it learns.

    Args:
        anchor: Embeddings. They are not normalised here; on the unit sphere distances are at most 2.
        positive: Embeddings of the same kind as the anchors'.
        negative: Embeddings of another kind.
        margin: How much farther the negative must be; positive and finite. Without it all embeddings could be equal.
        reduction: ``"mean"`` over triplets, ``"sum"`` or ``"none"``.

    Shape:
        - anchor, positive, negative: ``(..., D)``, one shape, floating point
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        ``margin`` where all embeddings are equal (with gradient 0: a collapse it cannot leave), 0 where every negative
        is farther by the margin. As torch's ``triplet_margin_loss`` with ``eps=0``; the paper squares the distances.

    Raises:
        ValueError: If the shapes differ, a tensor is not floating point or has no dimension, or ``margin`` is not
            positive and finite.

    Example:
        >>> anchor, near, far = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 5.5]])
        >>> triplet(anchor, near, far)  # 5 - 5.5 + 1
        tensor(0.5000)

    Reference: Schroff, Kalenichenko and Philbin 2015, section 3.1, https://arxiv.org/abs/1503.03832
    """
    check_positive("margin", margin)
    check_same_shape(anchor=anchor, positive=positive, negative=negative)
    if anchor.ndim == 0:
        raise ValueError("triplet needs embeddings (..., D), got scalars.")
    anchor = widened("anchor", anchor)
    near = torch.linalg.vector_norm(anchor - widened("positive", positive), dim=-1)
    far = torch.linalg.vector_norm(anchor - widened("negative", negative), dim=-1)
    return reduced(torch.relu(near - far + margin), reduction)
