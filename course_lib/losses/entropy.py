"""Entropy of a categorical distribution: how unsure it is."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, reduced
from course_lib.losses.softmax import log_softmax


def entropy(logits: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """``-sum(p * log(p))``: the surprise to expect from a draw.

    It is the floor of the cross-entropy: no model's expected loss on targets drawn from ``p`` is lower.

    Args:
        logits: Unnormalised log-probabilities, classes last. Log-probabilities are logits too, so
            ``probabilities.log()`` may be passed; a probability of 0 (``-inf``) adds nothing.
        reduction: ``"mean"`` over distributions, ``"sum"`` or ``"none"``.

    Shape:
        - logits: ``(..., K)``
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        Nats per distribution: ``log(K)`` if all classes are equally likely, 0 if one is certain.

    Raises:
        ValueError: If there are no classes, or ``logits`` is not floating point.

    Example:
        >>> import torch
        >>> entropy(torch.zeros(10))  # log(10)
        tensor(2.3026)

    Reference: Shannon 1948, A Mathematical Theory of Communication, section 6
    """
    log_p = log_softmax(logits)
    surprise = log_p.masked_fill(log_p.isneginf(), 0)  # p * log(p) goes to 0 as p does; 0 * inf would be NaN
    return reduced(-(log_p.exp() * surprise).sum(-1), reduction)
