"""Torch's DistributedDataParallel as the ``gradients`` of a run: reductions overlap with the backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from course_lib.distributed.engines.same_model import check_same_model
from course_lib.loops import Loss, Objective, OverRanks, Run
from course_lib.loops.compiled import original
from course_lib.loops.loss import Batch, added
from course_lib.loops.over_ranks import start_counting

_OPTIONS = inspect.signature(nn.parallel.DistributedDataParallel).parameters
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers"  # before 2.13


class DDP:
    """Data parallelism by torch's own engine: every rank has the whole model and its own rows, gradients are summed.

    A `Run` alone does the same, but only after the backward pass. Here gradients travel in buckets of some megabytes,
    each as soon as it is complete, while the backward pass goes on below. They are those of **sums** over targets, and
    the run divides by all targets of the step, so ragged batches are exact; with several micro-batches a step they
    travel once.

    The model that learns stays the bare one: nothing is wrapped that others look at. The weights of rank 0 are copied
    to the others when this is built.

    Args:
        model: On its device already; its parameters must not be frozen or unfrozen afterwards.
        objectives: The objective as well, if it is a module with weights of its own.
        group: Ranks that share the work; all of them by default.
        bucket_megabytes: Size of a bucket; torch's default is 25, its first one is smaller.
        find_unused_parameters: True if a step may leave parameters without a gradient on some rank; costs a walk
            through the graph. Otherwise torch raises an error in the step after one that did.
        sync_buffers: Whether rank 0's buffers are copied to the others in each forward pass. By default each rank goes
            on with its own (batch norm's averages), as without this engine.

    Raises:
        ValueError: If there is no process group, ranks have built different models, or (when the run is built) the
            optimizer has parameters that are not in ``model`` or ``objectives``.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from course_lib.loops import regression
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     dist.init_process_group("gloo", store=dist.FileStore(file.name, 1), rank=0, world_size=1)
        ...     model = nn.Linear(1, 1)
        ...     run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), gradients=DDP(model))
        ...     step = run.step((torch.ones(4, 1), torch.ones(4, 1)))
        ...     dist.destroy_process_group()
        >>> step.index, step.count
        (1, 4)

    Reference: Li et al. 2020, PyTorch Distributed: experiences on accelerating data parallel training,
    https://arxiv.org/abs/2006.15704
    """

    def __init__(
        self,
        model: nn.Module,
        *objectives: nn.Module,
        group: dist.ProcessGroup | None = None,
        bucket_megabytes: float | None = None,
        find_unused_parameters: bool = False,
        sync_buffers: bool = False,
    ) -> None:
        self._learning = _Learning(original(model), *objectives)
        check_same_model(self._learning, group)
        sync: dict[str, Any] = {_SYNC_BUFFERS: sync_buffers}
        self._engine = nn.parallel.DistributedDataParallel(
            self._learning,
            process_group=group,
            bucket_cap_mb=bucket_megabytes,
            find_unused_parameters=find_unused_parameters,
            gradient_as_bucket_view=True,  # a gradient lies in its bucket: no second copy of all of them
            **sync,
        )
        self._known = {id(parameter) for parameter in self._learning.parameters() if parameter.requires_grad}
        self.over_ranks = OverRanks(group=group, summed=True, averaged=True, counted=True, check=self._check)

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave the gradient, summed over micro-batches, averaged over ranks, in ``.grad``; return all ranks' loss."""
        losses = []
        for batch in micro_batches[:-1]:
            with self._engine.no_sync():
                total, loss = self._forward(model, objective, batch)
                total.backward()  # type: ignore[no-untyped-call]
            losses.append(loss)
        total, loss = self._forward(model, objective, micro_batches[-1])
        counted = start_counting(added([*losses, loss]), self.over_ranks.group)  # travels while gradients are computed
        total.backward()  # type: ignore[no-untyped-call]
        return [counted()]

    def _forward(self, model: nn.Module, objective: Objective, batch: Batch) -> tuple[Tensor, Loss]:
        total: Tensor
        total, count, metrics = self._engine(objective, model, batch)
        return total, Loss(total.detach(), count, {name: value.detach() for name, value in metrics.items()})

    def _check(self, run: Run) -> None:
        learning = [p for group in run.optimizer.param_groups for p in group["params"] if p.requires_grad]
        if unknown := sum(id(parameter) not in self._known for parameter in learning):
            raise ValueError(
                f"{unknown} of the optimizer's {len(learning)} parameters are not in the model that DDP was built "
                "with, or were frozen then, so their gradients would not be summed over ranks: build DDP(model), or "
                "DDP(model, objective) for an objective with weights, from what this run trains, after unfreezing."
            )


class _Learning(nn.Module):
    """Model and objective in one: a step's whole forward pass is one call of this, however often it calls the model."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, objective: Objective, model: nn.Module, batch: Batch) -> tuple[Tensor, Any, dict[str, Tensor]]:
        loss = objective(model, batch)
        return loss.total, loss.count, loss.metrics
