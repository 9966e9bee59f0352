"""The hinge loss of a support vector machine: right by a margin costs nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened


def hinge(score: Tensor, target: Tensor, *, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """``max(0, margin - target * score)`` for targets -1 and +1.

    Rows that are right by more than the margin have no gradient at all: the solution depends only on the rest, the
    support vectors. Cross-entropy never quite lets go of a row.

    Args:
        score: Signed distance from the decision boundary; its sign is the decision.
        target: -1 or +1. (Labels 0 and 1 give a wrong loss without an error: pass ``2 * y - 1``.)
        margin: How far on the right side is enough; positive and finite.
        reduction: ``"mean"`` over all numbers, ``"sum"`` or ``"none"``.

    Shape:
        - score: ``(...)``, floating point
        - target: ``(...)``, any real dtype but bool
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        ``margin`` for scores of 0, 0 where every row is right by the margin. At the kink the gradient is 0.

    Raises:
        ValueError: If the shapes differ, the scores are not floating point, the targets are boolean, or ``margin`` is
            not positive and finite.

    Example:
        >>> hinge(torch.tensor([2.0, 0.5, -1.0]), torch.tensor([1, 1, 1]), reduction="none")
        tensor([0.0000, 0.5000, 2.0000])

    Reference: Cortes and Vapnik 1995, Support-Vector Networks, https://doi.org/10.1007/BF00994018
    """
    check_positive("margin", margin)
    check_same_shape(score=score, target=target)
    if target.dtype == torch.bool:
        raise ValueError("hinge needs targets -1 or +1, got booleans: pass 2 * target.float() - 1.")
    return reduced(torch.relu(margin - target * widened("score", score)), reduction)
