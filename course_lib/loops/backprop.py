"""Plain backpropagation: how a run computes its gradients unless it is told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from course_lib.loops.loss import Batch, Loss, Objective

Gradients = Callable[[nn.Module, Objective, Sequence[Batch]], list[Loss]]


def backprop(model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
    """Leave in each parameter's ``.grad`` the gradient of the SUM of all micro-batches' losses; return the losses.

    This is the function that sharpness-aware minimisation, differentially private training or a pipeline
    schedule put another in the place of. It must not divide: `Run.step` does that, once.
    """
    losses = []
    for batch in micro_batches:
        loss = objective(model, batch)
        loss.total.backward()  # type: ignore[no-untyped-call]
        metrics = {name: value.detach() for name, value in loss.metrics.items()}
        losses.append(Loss(loss.total.detach(), loss.count, metrics))
    return losses
