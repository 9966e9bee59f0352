"""Class labels: which fit their logits, which are to be ignored, and how much each counts."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import widened


def check_labels(logits: Tensor, target: Tensor, *, min_classes: int = 1) -> None:
    """Refuse class labels that do not fit their logits; the labels' values are not read.

    Args:
        logits: One score per class, classes last.
        target: One class label per row.
        min_classes: How many classes the loss needs to make sense.

    Shape:
        - logits: ``(..., K)``
        - target: ``(...)``, int64

    Raises:
        ValueError: If the shapes do not fit, there are too few classes, or the labels are not int64.

    Example:
        >>> check_labels(torch.zeros(2, 7, 10), torch.zeros(2, 7, dtype=torch.int64))
    """
    if logits.ndim == 0 or logits.shape[:-1] != target.shape:
        raise ValueError(
            f"logits must be (..., K) for labels (...), got logits {tuple(logits.shape)} and labels "
            f"{tuple(target.shape)}. Classes come last: use movedim(1, -1) on logits of shape (B, K, ...)."
        )
    if logits.shape[-1] < min_classes:
        raise ValueError(f"this loss needs at least {min_classes} classes, got logits {tuple(logits.shape)}.")
    if target.dtype != torch.int64:
        raise ValueError(f"class labels must be int64, got {target.dtype}: convert them with .long().")


def label_weights(
    target: Tensor, *, num_classes: int, class_weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Return labels that are safe to look up, and how much each counts.

    Args:
        target: Class labels.
        num_classes: How many classes there are.
        class_weights: How much each class counts; 1 by default.
        ignore_index: The label that does not count.

    Shape:
        - target: ``(...)``, int64
        - class_weights: ``(K,)``
        - output: labels ``(...)`` int64 and weights ``(...)``

    Returns:
        The labels with the ignored ones replaced by class 0, and weights that are 0 for those.

    Raises:
        ValueError: If ``class_weights`` is not one floating-point number per class.

    Example:
        >>> label_weights(torch.tensor([2, -100]), num_classes=3, class_weights=None, ignore_index=-100)
        (tensor([2, 0]), tensor([1., 0.]))
    """
    ignored = target == ignore_index
    label = target.masked_fill(ignored, 0)
    if class_weights is None:
        return label, (~ignored).float()
    if class_weights.shape != (num_classes,):
        raise ValueError(f"class_weights must be ({num_classes},), one per class, got {tuple(class_weights.shape)}.")
    return label, widened("class_weights", class_weights)[label].masked_fill(ignored, 0)
