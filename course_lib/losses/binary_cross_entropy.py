"""Cross-entropy of yes-or-no targets: what a Bernoulli distribution makes of maximum likelihood."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened


def binary_cross_entropy(
    logits: Tensor, target: Tensor, *, positive_weight: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """``-log p`` of a yes or no, where ``sigmoid(logits)`` is the probability of yes.

    The sigmoid and the logarithm are taken as one function: apart, ``sigmoid`` rounds to 1 at a logit of 17 (float32)
    and the logarithm of the rest is ``-inf``.

    Args:
        logits: Log-odds of yes.
        target: 1 for yes, 0 for no, or a probability between.
        positive_weight: How many times a yes counts (torch's ``pos_weight``); positive and finite. The mean still
            divides by the number of targets.
        reduction: ``"mean"`` over all numbers, ``"sum"`` or ``"none"``.

    Shape:
        - logits, target: ``(...)``, one shape, floating point
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        Nats per number: ``log(2)`` at logit 0, 0 for a perfect model of targets that are 0 or 1. As
        ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Raises:
        ValueError: If the shapes differ, a tensor is not floating point, or ``positive_weight`` is not positive.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.tensor([0.0, 1e4]), torch.tensor([1.0, 0.0]), reduction="none")
        tensor([6.9315e-01, 1.0000e+04])

    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 4.90
    """
    check_positive("positive_weight", positive_weight)
    check_same_shape(logits=logits, target=target)
    logits, target = widened("logits", logits), widened("target", target)
    yes, no = F.logsigmoid(logits), F.logsigmoid(-logits)  # log p, and log(1 - p) without ever forming 1 - p
    return reduced(-(positive_weight * target * yes + (1 - target) * no), reduction)
