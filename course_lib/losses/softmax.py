"""Softmax and its logarithm without overflow: subtract the largest logit first."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import widened


def log_sum_exp(logits: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(logits)))``, a smooth maximum, for logits of any size.

    ``exp(89)`` is already infinite in float32. Taking the largest logit out of the sum leaves exponents of
    at most 0, of which one is exactly 0: the sum lies between 1 and the number of classes.

    Args:
        logits: Any real numbers; ``-inf`` stands for "impossible" and adds nothing.
        dim: The dimension summed over.
        keepdim: Whether to keep it, with size 1.

    Shape:
        - logits: ``(..., K)`` for ``dim=-1``, ``K >= 1``
        - output: ``(...)``, or ``(..., 1)`` with ``keepdim``

    Returns:
        Between ``max(logits)`` and ``max(logits) + log(K)``; ``-inf``, with gradient 0, where all logits are.

    Raises:
        ValueError: If there is no logit to take the largest of, or ``logits`` is not floating point.

    Example:
        >>> log_sum_exp(torch.tensor([1e4, 1e4]))  # 1e4 + log(2)
        tensor(10000.6934)

    Reference: Blanchard, Higham and Higham 2021, section 1, https://arxiv.org/abs/1909.03469
    """
    logits = _checked(logits, dim)
    largest = logits.detach().amax(dim, keepdim=True)  # it cancels, so no gradient needs to pass through it
    impossible = largest.isneginf()
    largest = largest.masked_fill(impossible, 0)
    total = (logits - largest).exp().sum(dim, keepdim=True)
    result = (total.masked_fill(impossible, 1).log() + largest).masked_fill(impossible, -torch.inf)
    return result if keepdim else result.squeeze(dim)


def log_softmax(logits: Tensor, *, dim: int = -1) -> Tensor:
    """Logarithms of the probabilities that the logits stand for.

    A probability of ``exp(-200)`` underflows to 0 and its logarithm to ``-inf``; computed directly it is just -200.

    Args:
        logits: Unnormalised log-probabilities; ``-inf`` for a class that is impossible.
        dim: The dimension of the classes.

    Shape:
        - logits, output: ``(..., K)`` for ``dim=-1``, ``K >= 1``

    Returns:
        Log-probabilities: at most 0, their exponentials sum to 1. Log-probabilities given as logits come back as
        they are. NaN where all logits are ``-inf``, as in torch.

    Raises:
        ValueError: If there are no classes, or ``logits`` is not floating point.

    Example:
        >>> log_softmax(torch.tensor([1e4, 0.0]))
        tensor([     0., -10000.])
    """
    logits = _checked(logits, dim)
    shifted = logits - logits.detach().amax(dim, keepdim=True)  # exact where it matters: near the largest
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def softmax(logits: Tensor, *, dim: int = -1) -> Tensor:
    """Return the probabilities that the logits stand for.

    Adding a constant to all logits changes nothing; dividing them by a temperature above 1 flattens the result.

    Args:
        logits: Unnormalised log-probabilities; ``-inf`` for a class that is impossible.
        dim: The dimension of the classes.

    Shape:
        - logits, output: ``(..., K)`` for ``dim=-1``, ``K >= 1``

    Returns:
        Probabilities that sum to 1 along ``dim``. NaN where all logits are ``-inf``, as in torch.

    Raises:
        ValueError: If there are no classes, or ``logits`` is not floating point.

    Example:
        >>> softmax(torch.tensor([1e4, 1e4]))
        tensor([0.5000, 0.5000])
    """
    logits = _checked(logits, dim)
    weight = (logits - logits.detach().amax(dim, keepdim=True)).exp()
    return weight / weight.sum(dim, keepdim=True)


def _checked(logits: Tensor, dim: int) -> Tensor:
    if logits.ndim == 0 or logits.shape[dim] == 0:
        raise ValueError(f"logits need at least one class along dim {dim}, got shape {tuple(logits.shape)}.")
    return widened("logits", logits)
