"""The two objectives of supervised learning, ready to hand to a ``Run``: classes and numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.loops.loss import Batch, Loss

MASKED = -100  # a label that does not count, as in torch.nn.functional.cross_entropy

# Shape letters used in this file: B = rows, K = classes; "..." is any further target dimension (time, say).


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
    logits = model(x)
    if logits.shape[:-1] != y.shape:
        raise ValueError(
            f"classification needs logits (B, ..., K) for labels (B, ...), got logits {tuple(logits.shape)} "
            f"and labels {tuple(y.shape)}."
        )
    logits, y = logits.flatten(0, -2), y.flatten()
    total = F.cross_entropy(logits, y, ignore_index=MASKED, reduction="sum")
    right = torch.count_nonzero(logits.detach().argmax(-1) == y)  # a masked label is no class, so it is never right
    return Loss(total, _count(y != MASKED), {"accuracy": right})


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


def _count(counted: Tensor) -> int | Tensor:
    """How many are true: read at once on the CPU, left on a device, where reading would wait for it."""
    number = torch.count_nonzero(counted)
    return int(number) if number.device.type == "cpu" else number
