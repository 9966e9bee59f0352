"""Sharpness-aware minimisation: the gradient at the worst point nearby, as a ``gradients`` function of `Run`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.loops.backprop import Gradients, backprop
from course_lib.loops.buffers import SavedBuffers
from course_lib.loops.loss import Batch, Loss, Objective


def sharpness_aware(rho: float = 0.05) -> Gradients:
    """Return a function for ``Run(gradients=...)`` that costs two backward passes and seeks flat minima.

    It goes up the gradient by a step of length ``rho``, takes the gradient there, and comes back; the update is then
    made from the first point with the second gradient. The loss and metrics reported are those of the first point,
    and buffers (batch norm's averages) see only the first pass. All weights of the model, and of an objective that has
    some, go up that require a gradient: freeze others by ``requires_grad_(False)``. Under torchrun each rank goes up
    its own gradient.

    Args:
        rho: Euclidean length of the step up, over all parameters together.

    Raises:
        ValueError: If ``rho`` is not positive and finite.

    Example:
        >>> from course_lib.loops import Run, regression
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> run = Run(model, regression, sgd, gradients=sharpness_aware(0.05))
        >>> run.step((torch.ones(4, 1), torch.ones(4, 1))).index
        1

    Reference: Foret et al. 2021, *Sharpness-Aware Minimization for Efficiently Improving Generalization*, eq. 2 and 3,
    https://arxiv.org/abs/2010.01412
    """
    if not (math.isfinite(rho) and rho > 0):
        raise ValueError(f"rho must be positive and finite, got {rho}; 0.05 is usual.")

    def gradients(model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        losses = backprop(model, objective, micro_batches)
        learning = [part for part in (model, inspect.unwrap(objective)) if isinstance(part, nn.Module)]
        weights_of = (parameter for part in learning for parameter in part.parameters())
        moved: list[Tensor] = [parameter for parameter in weights_of if parameter.grad is not None]
        ascent = [parameter.grad for parameter in moved if parameter.grad is not None]
        if not ascent:
            return losses
        weights, buffers = [parameter.detach().clone() for parameter in moved], SavedBuffers(*learning)
        with torch.no_grad():
            torch._foreach_mul_(ascent, rho / nn.utils.get_total_norm(ascent).clamp(min=1e-12))
            torch._foreach_add_(moved, ascent)
        try:
            for parameter in moved:
                parameter.grad = None
            backprop(model, objective, micro_batches)
        finally:
            with torch.no_grad():
                torch._foreach_copy_(moved, weights)
            buffers.restore()
        return losses

    return gradients
