"""Focal loss: cross-entropy that loses interest in what the model gets right already."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.losses.conventions import Reduction, reduced
from course_lib.losses.labels import check_labels, label_weights
from course_lib.losses.softmax import log_softmax, log_sum_exp


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """``-(1 - p)**gamma * log(p)`` for the probability ``p`` of the right class.

    A row that is right with p = 0.9 counts a hundredth at ``gamma`` 2, so that thousands of easy rows of the common
    class do not drown the few hard ones. The probabilities it is minimised by are not calibrated.

    Args:
        logits: Unnormalised log-probabilities, classes last. The paper's binary form with one logit ``z``
            is the two logits ``(0, z)``.
        target: Class labels.
        gamma: How fast interest fades; 0 gives :func:`cross_entropy`. The paper uses 2.
        class_weights: How much each class counts, the paper's alpha: ``(1 - alpha, alpha)`` for two classes.
        ignore_index: A label that stands for "no target here"; it gives loss 0 and gradient 0.
        reduction: As in :func:`cross_entropy`. (The paper divides by the number of positive targets: use ``"sum"``.)

    Shape:
        - logits: ``(..., K)`` with ``K >= 2``
        - target: ``(...)``, int64 in ``[0, K)`` or ``ignore_index``
        - class_weights: ``(K,)``
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        ``(1 - 1/K)**gamma * log(K)`` for a model that knows nothing, 0 for a perfect one.

    Raises:
        ValueError: If shapes or dtypes do not fit, or ``gamma`` is negative or not finite. A label out of range is an
            index error on a CPU and a failed assertion on a GPU: values are not read here.

    Example:
        >>> focal(torch.zeros(1, 2), torch.tensor([1]))  # log(2) / 4
        tensor(0.1733)

    Reference: Lin et al. 2017, eq. 4 and 5, https://arxiv.org/abs/1708.02002
    """
    check_labels(logits, target, min_classes=2)
    if not (math.isfinite(gamma) and gamma >= 0):
        raise ValueError(f"gamma must be at least 0 and finite, got {gamma!r}; 0.5 to 5 is usual.")
    label, weight = label_weights(
        target, num_classes=logits.shape[-1], class_weights=class_weights, ignore_index=ignore_index
    )
    log_p = log_softmax(logits)
    index = label.unsqueeze(-1)
    # log(1 - p) is summed over the other classes: 1 - p itself rounds to 0, where its power has no gradient.
    log_miss = log_sum_exp(log_p.scatter(-1, index, -torch.inf))
    log_miss = log_miss.clamp(min=torch.finfo(log_p.dtype).min)  # if no other class is possible: 0 * -inf is NaN
    log_hit = log_p.gather(-1, index).squeeze(-1).masked_fill(target == ignore_index, 0)
    return reduced(-(gamma * log_miss).exp() * log_hit * weight, reduction, divisor=weight.sum())
