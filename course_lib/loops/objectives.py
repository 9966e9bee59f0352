"""Objectives ready to hand to a ``Run``: classes, numbers, and the next token of a text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.loops.loss import Batch, Loss

MASKED = -100  # a label that does not count, as in torch.nn.functional.cross_entropy

# Shape letters used in this file: B = rows, K = classes, T = positions, V = vocabulary;
# "..." is any further target dimension (time, say).


def classification(model: nn.Module, batch: Batch) -> Loss:
    """Cross-entropy of ``model(x)`` against class labels, summed over the labels that are not masked.

    Args:
        model: Maps ``x`` to unnormalised log-probabilities (logits).
        batch: ``(x, y)``.

    Shape:
        - ``model(x)``: ``(B, ..., K)``
        - y: ``(B, ...)``, int64 in ``[0, K)`` or -100 for "no target here"

    Returns:
        The summed loss in nats; per target ``log(K)`` for a model that knows nothing, 0 for a perfect one.
        Metric ``accuracy``: how many targets have the largest logit.

    Raises:
        ValueError: If logits and labels do not fit together.

    Example:
        >>> import torch
        >>> loss = classification(nn.Identity(), (torch.zeros(3, 10), torch.tensor([1, 2, -100])))
        >>> int(loss.count), round(float(loss.total) / 2, 4)  # log(10)
        (2, 2.3026)
    """
    x, y = batch
    logits, y = _rows("classification", model(x), y)
    total = F.cross_entropy(logits, y, ignore_index=MASKED, reduction="sum")
    right = torch.count_nonzero(logits.detach().argmax(-1) == y)  # a masked label is no class, so it is never right
    return Loss(total, _count(y != MASKED), {"accuracy": right})


def next_token(model: nn.Module, batch: Batch, *, z_loss: float = 0.0) -> Loss:
    """Cross-entropy of a language model's guesses at the next token, summed over the targets that are not masked.

    What `classification` is without its accuracy, which costs a pass over all logits. With ``z_loss`` a penalty
    keeps the logits from drifting: the softmax does not notice when all of them grow, but rounding does.

    Args:
        model: Maps tokens to logits over the vocabulary at each position.
        batch: ``(x, y)``, where ``y`` is ``x`` one token later, as `course_lib.data.pack` cuts them.
        z_loss: How much of ``log(sum(exp(logits)))^2`` is added for each target; PaLM used 1e-4.

    Shape:
        - ``model(x)``: ``(B, T, V)``
        - y: ``(B, T)``, int64 in ``[0, V)`` or -100 for "no target here"

    Returns:
        The summed loss in nats; per target ``log(V)`` for a model that knows nothing. With ``z_loss`` there is a
        metric ``cross_entropy``, the loss without the penalty.

    Raises:
        ValueError: If logits and targets do not fit together, or ``z_loss`` is negative.

    Example:
        >>> import torch
        >>> loss = next_token(nn.Identity(), (torch.zeros(1, 3, 10), torch.tensor([[1, 2, -100]])))
        >>> loss.count, round(float(loss.total) / 2, 4)  # log(10)
        (2, 2.3026)

    Reference: for the penalty, Chowdhery et al. 2022, PaLM: scaling language modeling with Pathways, section 5,
    https://arxiv.org/abs/2204.02311
    """
    if not z_loss >= 0:
        raise ValueError(f"z_loss must be 0 or more, got {z_loss}.")
    x, y = batch
    logits, y = _rows("next_token", model(x), y)
    cross_entropy = F.cross_entropy(logits, y, ignore_index=MASKED, reduction="sum")
    counted = y != MASKED
    if z_loss == 0:
        return Loss(cross_entropy, _count(counted))
    log_z = logits.float().logsumexp(-1) if logits.dtype in (torch.float16, torch.bfloat16) else logits.logsumexp(-1)
    penalty = log_z.square().masked_fill(~counted, 0).sum()
    return Loss(cross_entropy + z_loss * penalty, _count(counted), {"cross_entropy": cross_entropy.detach()})


def regression(model: nn.Module, batch: Batch) -> Loss:
    """Squared error of ``model(x)`` against ``y``, summed over all numbers in ``y``.

    Args:
        model: Maps ``x`` to predictions.
        batch: ``(x, y)``.

    Shape:
        - ``model(x)``, y: the same shape, floating point

    Returns:
        The summed squared error, in squared units of ``y``; per target the variance of ``y`` for the
        best constant, 0 for a perfect model. (No factor 1/2.)

    Raises:
        ValueError: If the shapes differ: ``(B, 1)`` against ``(B,)`` would silently broadcast to ``(B, B)``.

    Example:
        >>> import torch
        >>> loss = regression(nn.Identity(), (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])))
        >>> float(loss.total), loss.count
        (4.0, 2)
    """
    x, y = batch
    prediction = model(x)
    if prediction.shape != y.shape:
        raise ValueError(
            f"regression needs predictions and targets of one shape, got {tuple(prediction.shape)} and "
            f"{tuple(y.shape)}. Use squeeze(-1) or unsqueeze(-1) on one of them."
        )
    return Loss((prediction - y).square().sum(), y.numel())


def _rows(objective: str, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """One row of logits for each target, whatever axes the two had."""
    if logits.shape[:-1] != y.shape:
        raise ValueError(
            f"{objective} needs logits (B, ..., K) for targets (B, ...), got logits {tuple(logits.shape)} "
            f"and targets {tuple(y.shape)}."
        )
    return logits.flatten(0, -2), y.flatten()


def _count(counted: Tensor) -> int | Tensor:
    """How many are true: read at once on the CPU, left on a device, where reading would wait for it."""
    number = torch.count_nonzero(counted)
    return int(number) if number.device.type == "cpu" else number
