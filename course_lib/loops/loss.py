"""What an objective returns: sums and counts, so that any split of a batch gives the same update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Batch = Any
RESERVED = frozenset({"count", "grad_norm", "learning_rate", "loss", "loss_scale", "skipped", "step"})


@dataclass(frozen=True, slots=True)
class Loss:
    """A sum over targets, and how many targets it sums over.

    A mean of means is not the mean unless all parts are the same size. So objectives return sums;
    whoever has all of them, over micro-batches and ranks, divides once.

    Args:
        total: The loss summed over its targets, a scalar that gradients flow through.
        count: How many targets were summed: an int, or a scalar integer tensor where counting
            would otherwise wait for the device. ``None`` marks a loss whose rows depend on each other
            (InfoNCE, group-relative advantages): ``total`` is a mean already and cannot be split.
        metrics: Sums over the same targets (how many were right, say), reported divided by ``count``.

    Raises:
        ValueError: If ``total`` or a metric is not a scalar tensor, ``count`` is negative or no whole number, or a
            metric takes one of the names that the loop reports by itself.

    Example:
        >>> import torch
        >>> Loss(torch.tensor(6.0), 3).count
        3
    """

    total: Tensor
    count: int | Tensor | None
    metrics: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.total.ndim != 0:
            raise ValueError(
                f"Loss.total must be a scalar, got shape {tuple(self.total.shape)}: sum the loss over its targets."
            )
        if isinstance(self.count, Tensor):
            if self.count.ndim != 0 or self.count.is_floating_point():
                raise ValueError(
                    f"Loss.count must be one whole number, got a {self.count.dtype} tensor of shape "
                    f"{tuple(self.count.shape)}."
                )
        elif self.count is not None and (not isinstance(self.count, int) or self.count < 0):
            raise ValueError(f"Loss.count must be a whole number of targets or None, got {self.count!r}.")
        for name, value in self.metrics.items():
            if not isinstance(value, Tensor) or value.ndim != 0:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"metric {name!r} must be a scalar tensor, summed over the targets; got {got}.")
        if taken := RESERVED & self.metrics.keys():
            raise ValueError(f"a metric may not be called {sorted(taken)[0]!r}: the loop reports that itself.")


Objective = Callable[[nn.Module, Batch], Loss]


def added(losses: Sequence[Loss]) -> Loss:
    """Add up the losses of a step's micro-batches.

    Raises:
        ValueError: If there are several and one cannot be split, or their metrics differ.

    Example:
        >>> both = added([Loss(torch.tensor(6.0), 3), Loss(torch.tensor(1.0), 1)])
        >>> float(both.total), both.count
        (7.0, 4)
    """
    if len(losses) == 1:
        return losses[0]
    if any(loss.count is None for loss in losses):
        raise ValueError(
            f"this objective compares the rows of its batch, so it cannot be split into {len(losses)} "
            "micro-batches: use one larger batch, or gather the rows first."
        )
    if len({frozenset(loss.metrics) for loss in losses}) > 1:
        raise ValueError(f"micro-batches returned different metrics: {[sorted(loss.metrics) for loss in losses]}.")
    count: int | Tensor = sum(loss.count for loss in losses if loss.count is not None)
    metrics = {name: torch.stack([loss.metrics[name] for loss in losses]).sum() for name in losses[0].metrics}
    return Loss(torch.stack([loss.total for loss in losses]).sum(), count, metrics)


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return what sums and counts are added up in: float64, or float32 on Apple's MPS, which has nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64
