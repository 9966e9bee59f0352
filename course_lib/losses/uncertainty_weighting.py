"""Weights for several tasks that are learnt along with them: a noisy task counts less."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class UncertaintyWeighting(nn.Module):
    """``sum(exp(-s) * loss + s / 2)`` over tasks, where ``s`` is a learnt log-variance per task.

    Each loss is read as a negative log-likelihood whose noise is unknown: half the squared error for a Gaussian,
    cross-entropy for classes. A task may claim to be noisy and count less, but pays ``s / 2`` for it. For a fixed loss
    the best weight is ``exp(-s) = 1 / (2 * loss)``: every task then contributes 1/2, whatever its units.

    Put it inside the model, so that the optimiser, checkpoints and EMA see its parameters, and keep weight decay off
    them: decay would pull all weights towards 1.

    Args:
        num_tasks: How many losses there are.

    Shape:
        - losses: ``num_tasks`` tensors ``(...)`` of one shape: scalars, or one loss per row, which
          can be summed exactly over micro-batches
        - output: ``(...)``

    Raises:
        ValueError: If ``num_tasks`` is below 1, or the losses are not ``num_tasks`` tensors of one shape.

    Example:
        >>> weighting = UncertaintyWeighting(2)
        >>> weighting(torch.tensor(0.5), torch.tensor(2.0)).item()  # all weights start at 1
        2.5

    Reference: Kendall, Gal and Cipolla 2018, eq. 7 and 10, https://arxiv.org/abs/1705.07115
    """

    def __init__(self, num_tasks: int) -> None:
        if num_tasks < 1:
            raise ValueError(f"num_tasks must be at least 1, got {num_tasks!r}.")
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(num_tasks))

    @property
    def weights(self) -> Tensor:
        """What each task's loss is multiplied by now, ``(num_tasks,)``, without gradient."""
        return self.log_variances.detach().neg().exp()

    def forward(self, *losses: Tensor) -> Tensor:
        """Return the weighted sum of the tasks' losses, penalty included, in the losses' shape."""
        if len(losses) != len(self.log_variances) or len({loss.shape for loss in losses}) > 1:
            raise ValueError(
                f"expected {len(self.log_variances)} losses of one shape, got shapes "
                f"{[tuple(loss.shape) for loss in losses]}."
            )
        stacked = torch.stack(losses, dim=-1)
        return (stacked * (-self.log_variances).exp() + self.log_variances / 2).sum(-1)
