"""The hinge loss for several classes: the right one must lead every other by a margin."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, reduced, widened
from course_lib.losses.labels import check_labels


def multiclass_hinge(logits: Tensor, target: Tensor, *, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Weston and Watkins' hinge: how far each wrong class comes within ``margin`` of the right one, averaged.

    Every class that comes too close costs something. (Crammer and Singer's variant counts only the closest one.)

    Args:
        logits: One score per class, classes last.
        target: Class labels.
        margin: The lead that is enough; positive and finite.
        reduction: ``"mean"`` over targets, ``"sum"`` or ``"none"``.

    Shape:
        - logits: ``(..., K)`` with ``K >= 2``
        - target: ``(...)``, int64 in ``[0, K)``
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        Per target the sum over the wrong classes divided by ``K`` (all classes, as torch's ``multi_margin_loss``):
        ``margin * (K - 1) / K`` for equal scores, 0 where the right class leads by the margin.

    Raises:
        ValueError: If shapes or dtypes do not fit, or ``margin`` is not positive and finite. A label out of range is an
            index error on a CPU and a failed assertion on a GPU: values are not read here.

    Example:
        >>> multiclass_hinge(torch.tensor([[3.0, 2.5, 0.0]]), torch.tensor([0]))  # (0.5 + 0) / 3
        tensor(0.1667)

    Reference: Weston and Watkins 1999, Support Vector Machines for Multi-Class Pattern Recognition
    """
    check_positive("margin", margin)
    check_labels(logits, target, min_classes=2)
    logits, label = widened("logits", logits), target.unsqueeze(-1)
    too_close = torch.relu(margin + logits - logits.gather(-1, label))
    return reduced(too_close.scatter(-1, label, 0).mean(-1), reduction)
