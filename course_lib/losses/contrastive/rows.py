"""What the contrastive losses share: all ranks' rows of both views, and matrix products that stay in float32.

The rows of these losses depend on each other, so a batch spread over processes must be brought together first. Every
rank then computes the loss of the whole batch, and sends back to each row what that row's rank needs. Averaged over
ranks, as `course_lib.loops.Run` and DDP do, the gradients of all parameters are those of one process that has the whole
batch; so is that of a temperature, which every rank uses in full.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.collectives import gather_rows
from course_lib.losses.conventions import check_positive, widened

# Shape letters used in this file: n = rows of this rank, N = rows of all ranks, D = width.


def all_rows(loss: str, **views: Tensor) -> tuple[Tensor, Tensor]:
    """Return two views of the same rows, those of all ranks, in at least float32.

    Args:
        loss: Who asks, for messages.
        views: Two tensors by the names that the caller's documentation uses.

    Shape:
        - views: ``(n, D)``, floating point, as many rows on every rank
        - output: two of ``(N, D)``

    Raises:
        ValueError: If they are not two matrices of one shape, ranks hold different numbers of rows, or there are fewer
            than two rows over all.

    Example:
        >>> first, second = all_rows("my_loss", first=torch.eye(3), second=torch.ones(3, 3))
        >>> first.shape, second.shape
        (torch.Size([3, 3]), torch.Size([3, 3]))
    """
    check_rows(loss, **views)
    first, second = (widened(name, view) for name, view in views.items())
    both = gather_rows(torch.stack([first, second], dim=1))  # (N, 2, D): one message for both
    if len(both) < 2:
        raise ValueError(f"{loss} compares rows with each other and needs at least 2, got {len(both)}.")
    return both[:, 0], both[:, 1]


def check_rows(loss: str, **views: Tensor) -> None:
    """Refuse views that are not matrices of one shape: their rows would not belong together."""
    if len({view.shape for view in views.values()}) > 1 or any(view.ndim != 2 for view in views.values()):
        shapes = ", ".join(f"{name} {tuple(view.shape)}" for name, view in views.items())
        raise ValueError(f"{loss} needs matrices (N, D) of one shape, row by row of the same samples, got {shapes}.")


def check_weights(**weights: float) -> None:
    """Refuse weights of a loss's terms that are negative or not finite; 0 leaves a term out."""
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name} must be 0 or more and finite, got {weight!r}.")


def cosines(rows: Tensor, others: Tensor) -> Tensor:
    """Return the cosine of each row with each of ``others``, ``(N, D)`` and ``(M, D)`` to ``(N, M)``."""
    with full_precision(rows):
        return unit_rows(rows) @ unit_rows(others).T


def unit_rows(rows: Tensor) -> Tensor:
    """Return rows scaled to length 1. One of zeros has no direction: it stays zero, and gets no gradient.

    An encoder with fresh biases of 0 makes such rows of blank images and empty captions. Divided by next to nothing,
    their gradient would be 10^12 times that of all the others.
    """
    blank = (rows == 0).all(dim=-1, keepdim=True)
    return F.normalize(rows, dim=-1).masked_fill(blank, 0)


def off_diagonal(square: Tensor) -> Tensor:
    """Return the summed squares of a matrix's entries off the diagonal."""
    return (square - torch.diag(square.diagonal())).square().sum()


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off, which would compute matrix products of float32 in 16 bits."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def check_temperature(temperature: float | Tensor) -> None:
    """Refuse a temperature that is no positive number; one that is learnt (a tensor) is not read."""
    if not isinstance(temperature, Tensor):
        check_positive("temperature", temperature)
    elif temperature.numel() != 1:
        raise ValueError(f"temperature must be one number, got a tensor of shape {tuple(temperature.shape)}.")
