"""Torch's own pipelines as the ``gradients`` of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib.collectives import rank, world_size
from course_lib.distributed.pipelines.schedules import ScheduleName, make_schedule
from course_lib.distributed.pipelines.shared import (
    SharedLosses,
    check_tuples,
    collected,
    norm_over_stages,
    unsplittable,
)
from course_lib.distributed.pipelines.transfers import Transfers
from course_lib.distributed.same_rows import SameRows
from course_lib.distributed.same_start import same_start
from course_lib.loops import Loss, Objective, OverRanks, Run
from course_lib.loops.compiled import original
from course_lib.loops.loss import Batch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class TorchPipeline:
    """`torch.distributed.pipelining` in the place of `Pipeline`, which does the same by hand.

    It overlaps sending and computing on GPUs, and is where schedules beyond these two are to be had. Its buffers have
    fixed shapes, so all micro-batches of a step must be of one shape; each new shape costs a pass to find out what
    travels. Batches are tuples of tensors; an objective must call the model once, with ``batch[0]``. To evaluate, take
    ``Pipeline(stage, mesh).forward_only``.

    Args:
        stage: This rank's layers, as for `Pipeline`.
        mesh: From `device_mesh`; its dimension "pp" numbers the stages, "dp" the copies.
        schedule: ``"1f1b"``, which needs as many micro-batches as stages, or ``"gpipe"``.

    Raises:
        ValueError: As `Pipeline`; and for micro-batches of different shapes, or too few of them.

    Reference: https://docs.pytorch.org/docs/stable/distributed.pipelining.html
    """

    def __init__(self, stage: nn.Module, mesh: DeviceMesh, *, schedule: ScheduleName = "1f1b") -> None:
        make_schedule(schedule, 1, 1)  # refuses an unknown name
        self._stage, self._name = original(stage), schedule
        self._group = mesh["pp"].get_group()
        self._place, self._num_stages = rank(self._group), world_size(self._group)
        self._device = next((p.device for p in stage.parameters()), torch.device("cpu"))
        data_group = mesh["dp"].get_group()
        same_start(self._stage, data_group)
        self._transfers = Transfers(self._group, self._device)  # for the tied parameter alone
        if (tied := self._tied()) is not None:
            self._transfers.from_first_to_last(tied.detach())
        counted_elsewhere = self._tied if self._place > 0 else lambda: None
        norm = norm_over_stages(self._group, OverRanks().norm, counted_elsewhere, self._device)
        self.over_ranks = OverRanks(group=data_group, norm=norm, check=self._check)
        self._share = SharedLosses(self._group, self._device)
        self._engines: dict[Any, Any] = {}
        self._layers = _Layers(self._stage)
        self._step: tuple[Objective, Sequence[Batch]] | None = None
        self._losses: list[Loss] = []
        self._same = SameRows([self._group], self._device)

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave this stage's gradient of the sum over ``micro_batches`` in ``.grad``; return all their losses."""
        self._same.check(micro_batches)
        check_tuples(micro_batches)
        engine = self._engine(micro_batches)
        self._step = objective, micro_batches
        self._losses = []
        xs = (torch.cat([batch[0] for batch in micro_batches]),) if self._place == 0 else ()
        numbers = torch.arange(len(micro_batches)) if self._place == self._num_stages - 1 else None
        engine.step(*xs, target=numbers, return_outputs=False)
        self._step = None
        if (tied := self._tied()) is not None and tied.requires_grad:
            if tied.grad is None:
                tied.grad = torch.zeros_like(tied)
            self._transfers.add_between_ends(tied.grad)
        return self._share(self._losses[-len(micro_batches) :], len(micro_batches))

    def whole_parameters(self) -> dict[str, Tensor]:
        """Return the parameters of all stages, by their names, on the CPU; every rank must call this."""
        return collected(dict(self._stage.named_parameters()), self._group, self._device)

    def whole_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that the last update used, likewise; every rank must call this."""
        mine = {name: p.grad for name, p in self._stage.named_parameters() if p.grad is not None}
        return collected(mine, self._group, self._device)

    def _engine(self, micro_batches: Sequence[Batch]) -> Any:
        """Torch's schedule for as many micro-batches of this shape."""
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

        shapes = {(tuple(batch[0].shape), batch[0].dtype) for batch in micro_batches}
        if len(shapes) > 1:
            raise ValueError(
                f"torch's pipelines need micro-batches of one shape, got {sorted(shape for shape, _ in shapes)}: drop "
                "the last short batch (drop_last=True), or take Pipeline, which takes any."
            )
        if self._name == "1f1b" and len(micro_batches) < self._num_stages:
            raise ValueError(
                f"torch's 1F1B needs at least as many micro-batches as stages, got {len(micro_batches)} for "
                f"{self._num_stages}: accumulate more, or take schedule='gpipe'."
            )
        key = (len(micro_batches), *shapes, self._stage.training, self._layers.precision)
        if key not in self._engines:
            kind = {"1f1b": Schedule1F1B, "gpipe": ScheduleGPipe}[self._name]
            stage = PipelineStage(self._layers, self._place, self._num_stages, self._device, group=self._group)
            self._engines[key] = kind(stage, len(micro_batches), loss_fn=self._loss, scale_grads=False)
        return self._engines[key]

    def _loss(self, output: Tensor, number: Tensor) -> Tensor:
        """What torch calls on the last stage: the objective, with a model that returns what is computed already."""
        assert self._step is not None
        objective, micro_batches = self._step
        loss = objective(_Computed(output), micro_batches[int(number)])
        if loss.count is None:
            raise unsplittable(self._num_stages)
        metrics = {name: value.detach() for name, value in loss.metrics.items()}
        self._losses.append(Loss(loss.total.detach(), loss.count, metrics))
        return loss.total

    def _tied(self) -> nn.Parameter | None:
        return getattr(self._stage, "tied", None) if self._num_stages > 1 else None

    def _check(self, run: Run) -> None:
        if original(run.model) is not self._stage:
            raise ValueError("the run must train the stage that the pipeline was built with: Run(stage, ...).")
        if run.precision == "fp16":
            raise ValueError("a pipeline does not scale losses for fp16: take precision='bf16'.")
        self._layers.precision = run.precision


class _Layers(nn.Module):
    """A stage, computed in the run's precision."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.precision = "fp32"

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext():
            output: Tensor = self.stage(x)
        return output


class _Computed(nn.Module):
    """A model whose output is known."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self._output = output

    def forward(self, x: Tensor) -> Tensor:
        return self._output
