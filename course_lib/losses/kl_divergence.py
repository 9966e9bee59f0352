"""Kullback-Leibler divergence: what it costs to believe q where p is true."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, check_same_shape, reduced
from course_lib.losses.softmax import log_softmax


def kl_divergence(p_logits: Tensor, q_logits: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """``KL(p || q) = sum(p * (log(p) - log(q)))``, in the order in which it is written.

    It is cross-entropy minus entropy: the part of the loss that a better q can remove. It is not symmetric: it
    punishes a q that is small where p is large, so a q fitted with it covers all of p.

    Args:
        p_logits: Logits of the true distribution, classes last.
        q_logits: Logits of the model's. For both, log-probabilities are logits too, so ``probabilities.log()`` may be
            passed; a probability of 0 (``-inf``) is fine in p. (torch's ``kl_div`` wants ``log q`` first, then ``p``.)
        reduction: ``"mean"`` over distributions (torch's ``"batchmean"``; its own ``"mean"`` divides by the classes
            too), ``"sum"`` or ``"none"``.

    Shape:
        - p_logits, q_logits: ``(..., K)``, one shape
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        Nats per distribution: 0 where both are equal, else positive; infinite where q rules out what p does not.
        Gradients flow into both; detach p where it is a given.

    Raises:
        ValueError: If the shapes differ, there are no classes, or a tensor is not floating point.

    Example:
        >>> import torch
        >>> p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75])
        >>> kl_divergence(p.log(), q.log())  # log(4)
        tensor(1.3863)

    Reference: Kullback and Leibler 1951, On Information and Sufficiency, https://doi.org/10.1214/aoms/1177729694
    """
    check_same_shape(p_logits=p_logits, q_logits=q_logits)
    log_p, log_q = log_softmax(p_logits), log_softmax(q_logits)
    log_ratio = (log_p - log_q).masked_fill(log_p.isneginf(), 0)  # what never happens under p costs nothing
    return reduced((log_p.exp() * log_ratio).sum(-1), reduction)
