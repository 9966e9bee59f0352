"""A pipeline by hand: carries out a schedule over send and receive, as the ``gradients`` of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.collectives import rank, world_size
from course_lib.distributed.engines.fully_sharded import FullySharded
from course_lib.distributed.pipelines.schedules import Action, ScheduleName, make_schedule
from course_lib.distributed.pipelines.shared import (
    SharedLosses,
    check_tuples,
    collected,
    norm_over_stages,
    unsplittable,
)
from course_lib.distributed.pipelines.timeline import Event, Timeline
from course_lib.distributed.pipelines.transfers import Transfers
from course_lib.distributed.same_rows import SameRows
from course_lib.distributed.same_start import same_start
from course_lib.distributed.tensor_parallel.engine import TensorParallel
from course_lib.loops import Loss, Objective, OverRanks, Run
from course_lib.loops.compiled import original
from course_lib.loops.loss import Batch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@dataclass(slots=True)
class _Held:
    """What a stage keeps of a micro-batch between its two passes."""

    received: Tensor | None
    output: Tensor


class Pipeline:
    """Each rank holds some layers; micro-batches go through them one behind the other.

    The micro-batches of ``Run.step`` are those of the pipeline (``train(..., accumulate=m)``), of any sizes. All stages
    get the same ones: the first reads the inputs, ``batch[0]``, the last one calls the objective, with what it received
    in their place. Losses are told to all stages, so that all come to the same verdict. With several copies of the
    pipeline each one sees its own rows, and gradients are summed over them.

    An error on one stage (a label out of range) leaves the others waiting; `launch` and torchrun end them then.

    Args:
        stage: This rank's layers: a module that maps one tensor to one tensor, such as `TransformerStage`. If it has
            an attribute ``tied``, that parameter is held by the first and the last stage alike.
        mesh: From `device_mesh`; its dimension "pp" numbers the stages, "dp" the copies.
        schedule: ``"1f1b"`` or ``"gpipe"``.
        within: How ``stage`` itself is split, if it is: `TensorParallel` or `FullySharded` built on it.

    Attributes:
        within: As given.
        peak_held: Of how many micro-batches this stage kept activations in the last step, at most.

    Raises:
        ValueError: If the schedule has no such name, or copies of a stage differ; when the run is built, if it trains
            something else, or in fp16; in a step, on all ranks alike, if ranks of one pipeline see different rows; if
            `timeline` is asked for before the first step.

    Example:
        >>> import tempfile
        >>> import torch.distributed as dist
        >>> from course_lib.distributed.meshes import device_mesh
        >>> from course_lib.loops import regression
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     dist.init_process_group("gloo", store=dist.FileStore(file.name, 1), rank=0, world_size=1)
        ...     stage = nn.Linear(3, 1)
        ...     pipeline = Pipeline(stage, device_mesh())
        ...     run = Run(stage, regression, torch.optim.SGD(stage.parameters(), lr=0.1), gradients=pipeline)
        ...     batch = (torch.ones(4, 3), torch.ones(4, 1))
        ...     step = run.step(batch, batch)
        ...     dist.destroy_process_group()
        >>> step.count.item(), pipeline.peak_held
        (8, 1)

    Reference: Huang et al. 2019, GPipe, https://arxiv.org/abs/1811.06965; Narayanan et al. 2021, Efficient large-scale
    language model training on GPU clusters using Megatron-LM, section 2.2, https://arxiv.org/abs/2104.04473
    """

    def __init__(
        self,
        stage: nn.Module,
        mesh: DeviceMesh,
        *,
        schedule: ScheduleName = "1f1b",
        within: TensorParallel | FullySharded | None = None,
    ) -> None:
        make_schedule(schedule, 1, 1)  # refuses an unknown name
        self._stage, self._name = original(stage), schedule
        self._group = mesh["pp"].get_group()
        self._place, self._num_stages = rank(self._group), world_size(self._group)
        self._device = next((p.device for p in stage.parameters()), torch.device("cpu"))
        data_group = mesh["dp"].get_group()
        if within is None:
            same_start(self._stage, data_group)
        self.within = within
        self._transfers = Transfers(self._group, self._device)
        if (tied := self._tied()) is not None:
            self._transfers.from_first_to_last(_local(tied.detach()))
        inner = OverRanks(group=data_group) if within is None else within.over_ranks
        norm = norm_over_stages(self._group, inner.norm, self._counted_elsewhere, self._device)
        self.over_ranks = OverRanks(group=data_group, summed=inner.summed, norm=norm, check=self._check)
        self._share = SharedLosses(self._group, self._device)
        sharing = [within.group] if isinstance(within, TensorParallel) else []
        self._one_copy = [*sharing, self._group]
        self._same = SameRows(self._one_copy, self._device)
        self._precision = "fp32"
        self._spans: list[tuple[Action, float, float]] = []
        self.peak_held = 0

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave this stage's gradient of the sum over ``micro_batches`` in ``.grad``; return all their losses."""
        self._same.check(micro_batches)
        check_tuples(micro_batches)
        actions = make_schedule(self._name, self._num_stages, len(micro_batches))[self._place]
        held: dict[int, _Held] = {}
        losses: dict[int, Loss] = {}
        self._spans, self.peak_held = [], 0
        for action in actions:
            number = action.micro_batch
            if action.kind == "forward":
                held[number] = self._forward(model, objective, micro_batches[number], action, losses)
                self.peak_held = max(self.peak_held, len(held))
            else:
                self._backward(held.pop(number), action)
        self._transfers.wait()
        if (tied := self._tied()) is not None and tied.requires_grad:
            if tied.grad is None:
                tied.grad = torch.zeros_like(tied)
            self._transfers.add_between_ends(_local(tied.grad))
        every = self._share([losses[number] for number in sorted(losses)], len(micro_batches))
        self._same.check_losses(every)
        return every

    def forward_only(self, objective: Objective) -> Objective:
        """Return an objective for `course_lib.loops.evaluate`, which every rank calls with its stage and this.

        What all stages then report is that of the last one. As in training, the stages must be given the same rows:
        ``Batches(..., rank=rank(dp), world_size=world_size(dp))``.
        """
        share, same = SharedLosses(self._group, self._device), SameRows(self._one_copy, self._device)

        def through_all_stages(model: nn.Module, batch: Batch) -> Loss:
            same.check([batch])
            spans, self._spans = self._spans, []
            losses: dict[int, Loss] = {}
            self._forward(model, objective, batch, Action("forward", 0), losses)
            self._transfers.wait()
            self._spans = spans
            return share(list(losses.values()), 1)[0]

        return through_all_stages

    def timeline(self) -> Timeline:
        """Return when each stage did what in the last step, on the clock of the machine; every stage calls this.

        On a GPU these are the times at which work was handed over, not those at which it was done.
        """
        if not self._spans:
            raise ValueError("there is no timeline yet: ask after a step.")
        spans = torch.tensor([span[1:] for span in self._spans], dtype=torch.float64)
        every = collected({str(self._place): spans}, self._group, self._device)
        first = min(float(spans.min()) for spans in every.values())
        schedule = make_schedule(self._name, self._num_stages, len(self._spans) // 2)
        events = [
            Event(stage, action, start - first, end - first)
            for stage, actions in enumerate(schedule)
            for action, (start, end) in zip(actions, every[str(stage)].tolist(), strict=True)
        ]
        return Timeline(tuple(events), self._num_stages)

    def whole_parameters(self) -> dict[str, Tensor]:
        """Return the parameters of all stages, by their names, on the CPU; every rank must call this."""
        mine = dict(self._stage.named_parameters()) if self.within is None else self.within.whole_parameters()
        return collected(mine, self._group, self._device)

    def whole_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that the last update used, likewise; every rank must call this."""
        if self.within is None:
            mine = {name: p.grad for name, p in self._stage.named_parameters() if p.grad is not None}
        else:
            mine = self.within.whole_gradients()
        return collected(mine, self._group, self._device)

    def _forward(
        self, model: nn.Module, objective: Objective, batch: Batch, action: Action, losses: dict[int, Loss]
    ) -> _Held:
        x, *rest = batch
        with self._autocast():
            kind = self._device.type
            bits = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = (tuple(x.shape), x.dtype, model.training, bits)
        received = None
        if self._place > 0:
            x = received = self._transfers.receive_activation(key).requires_grad_()
        start = time.monotonic()
        if self._place < self._num_stages - 1:
            with self._autocast():
                output = model(x)
            self._note(action, start)
            self._transfers.send_activation(output, key)
            return _Held(received, output)
        loss = objective(model, (x, *rest))
        if loss.count is None:
            raise unsplittable(self._num_stages)
        metrics = {name: value.detach() for name, value in loss.metrics.items()}
        losses[action.micro_batch] = Loss(loss.total.detach(), loss.count, metrics)
        self._note(action, start)
        return _Held(received, loss.total)

    def _backward(self, held: _Held, action: Action) -> None:
        gradient = None
        if self._place < self._num_stages - 1:
            gradient = self._transfers.receive_gradient(held.output)
        start = time.monotonic()
        torch.autograd.backward(held.output, gradient)
        self._note(action, start)
        if held.received is not None:
            sent_back = held.received.grad
            self._transfers.send_gradient(torch.zeros_like(held.received) if sent_back is None else sent_back)

    def _note(self, action: Action, start: float) -> None:
        self._spans.append((action, start, time.monotonic()))

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "bf16" and torch.is_grad_enabled():  # evaluation says itself what it computes in
            return torch.autocast(self._device.type, torch.bfloat16)
        return nullcontext()

    def _tied(self) -> nn.Parameter | None:
        return getattr(self._stage, "tied", None) if self._num_stages > 1 else None

    def _counted_elsewhere(self) -> nn.Parameter | None:
        return self._tied() if self._place > 0 else None

    def _check(self, run: Run) -> None:
        if original(run.model) is not self._stage:
            raise ValueError("the run must train the stage that the pipeline was built with: Run(stage, ...).")
        if run.precision == "fp16":
            raise ValueError("a pipeline does not scale losses for fp16: take precision='bf16'.")
        if self.within is not None:
            self.within.over_ranks.check(run)
        self._precision = run.precision


def _local(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
