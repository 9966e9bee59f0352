"""Data parallelism by hand: gradients are added up over the ranks bucket by bucket, while backward still computes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.distributed.engines import check_same_model
from course_lib.loops import Loss, Objective, OverRanks, Run, backprop
from course_lib.loops.loss import Batch


def bucketed(parameters: Iterable[nn.Parameter], *, bucket_bytes: int = 25 * 2**20) -> list[list[nn.Parameter]]:
    """Group parameters into buckets, the last parameter first: in that order backward finishes their gradients.

    A message a parameter would cost a latency each; one message for all could only start when backward is done.

    Args:
        parameters: In the order in which forward uses them, as ``model.parameters()`` mostly gives them. Those that
            need no gradient are left out.
        bucket_bytes: A bucket is full before it would exceed this; a larger parameter has one of its own.

    Returns:
        The buckets; a bucket holds parameters of one dtype and device.

    Example:
        >>> layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        >>> [len(bucket) for bucket in bucketed(layers.parameters(), bucket_bytes=80)]
        [2, 2]

    Reference:
        Li et al. (2020), "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", section 3.2.
    """
    if not bucket_bytes > 0:
        raise ValueError(f"bucket_bytes must be positive, got {bucket_bytes}.")
    buckets: list[list[nn.Parameter]] = []
    filled = 0
    for parameter in reversed([parameter for parameter in parameters if parameter.requires_grad]):
        size = parameter.numel() * parameter.element_size()
        last = buckets[-1][-1] if buckets else None
        fits = last is not None and (last.dtype, last.device) == (parameter.dtype, parameter.device)
        if fits and filled + size <= bucket_bytes:
            buckets[-1].append(parameter)
            filled += size
        else:
            buckets.append([parameter])
            filled = size
    return buckets


@dataclass(frozen=True, slots=True)
class Reduction:
    """When one bucket was added up over the ranks, in seconds since the step's last forward pass began.

    On a GPU these are times of the host, which runs ahead of the device.
    """

    bucket: int
    bytes: int
    started_seconds: float
    finished_seconds: float


class Overlapped:
    """The ``gradients`` of a `Run` that adds them up over ranks while backward still runs.

    A hook on each parameter notices that its gradient is complete. When a bucket is, its sum over the ranks starts in
    the background and backward goes on; at the end all are waited for. With several micro-batches only the last
    backward communicates. What comes out is the plain sum over ranks, as `Run` gets it without this.

    Every rank must have the same model with the same values: nothing is broadcast, but a run that is built with this
    compares them. After a backward pass that failed when buckets had been sent, ranks may be out of step: end all.

    Args:
        parameters: All that the run trains; not to be unfrozen afterwards.
        bucket_bytes: As in :func:`bucketed`.
        group: The ranks that take part; all of them by default.

    Attributes:
        reductions: When each bucket of the last step was added up, to see the overlap.

    Raises:
        ValueError: When a run is built, if the optimizer has parameters that are not among ``parameters``, or ranks
            have different models or values. In a step, if backward adds to a gradient that has been sent, as reentrant
            checkpointing of shared layers does.
        RuntimeError: In the step after a backward pass that failed midway.

    Example:
        >>> from course_lib.loops import Run, regression
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> run = Run(model, regression, optimizer, gradients=Overlapped(model.parameters()))

    Reference:
        Li et al. (2020), "PyTorch Distributed: Experiences on Accelerating Data Parallel Training".
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        bucket_bytes: int = 25 * 2**20,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self.buckets = bucketed(parameters, bucket_bytes=bucket_bytes)
        self.over_ranks = OverRanks(group=group, summed=True, check=self._check)
        self.reductions: list[Reduction] = []
        self._missing: list[set[nn.Parameter]] = []  # by bucket: whose gradient is still to come
        self._started: list[tuple[Tensor, dist.Work, Any]] = []  # the first buckets: all ranks start in this order
        self._began = 0.0
        self._communicating = False
        self._out_of_step = False
        for index, bucket in enumerate(self.buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(self._noticing(index))  # type: ignore[no-untyped-call]

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave in each ``.grad`` the gradient of the sum over micro-batches and ranks; return this rank's losses."""
        if self._out_of_step:
            raise RuntimeError(
                "An earlier backward pass failed when some gradients had been sent, so that ranks may be out of step. "
                "End all of them, and start again from a checkpoint."
            )
        losses = backprop(model, objective, micro_batches[:-1])
        self._missing = [set(bucket) for bucket in self.buckets]
        self._started, self.reductions = [], []
        self._communicating = world_size(self.over_ranks.group) > 1
        self._began = time.perf_counter()
        try:
            losses += backprop(model, objective, micro_batches[-1:])
        except BaseException:
            self._out_of_step = bool(self._started)
            raise
        finally:
            communicating, self._communicating = self._communicating, False
        if communicating:
            while len(self._started) < len(self.buckets):  # with parameters that this rank did not use
                self._start(len(self._started))
            for bucket, (message, work, reduction) in zip(self.buckets, self._started, strict=True):
                work.wait()
                _spread(message, bucket)
                self.reductions.append(reduction.wait())
            self._started = []  # the messages are as large as all gradients
        return losses

    def _check(self, run: Run) -> None:
        known = {parameter for bucket in self.buckets for parameter in bucket}
        learning = [p for group in run.optimizer.param_groups for p in group["params"] if p.requires_grad]
        if unknown := sum(parameter not in known for parameter in learning):
            raise ValueError(
                f"{unknown} of the optimizer's {len(learning)} parameters are not among those that Overlapped was "
                "built with, so their gradients would not be summed over ranks: build it from all that the run trains."
            )
        if world_size(self.over_ranks.group) > 1:
            check_same_model(run.model, self.over_ranks.group)
            _check_same_values([p for bucket in self.buckets for p in bucket], self.over_ranks.group)

    def _noticing(self, index: int) -> Any:
        def hook(parameter: Tensor) -> None:
            if self._communicating:
                if index < len(self._started):
                    raise ValueError(
                        f"Backward added to the gradient of a parameter of shape {tuple(parameter.shape)} after it had "
                        "been sent. Reentrant checkpointing of shared layers does so: use_reentrant=False does not."
                    )
                self._missing[index].discard(parameter)
                while len(self._started) < len(self.buckets) and not self._missing[len(self._started)]:
                    self._start(len(self._started))

        return hook

    @torch.no_grad()
    def _start(self, index: int) -> None:
        """Send off a bucket: its gradients one after the other, then for each whether this rank has one."""
        bucket = self.buckets[index]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket]
        flags = [torch.full((1,), float(p.grad is not None), dtype=p.dtype, device=p.device) for p in bucket]
        message = torch.cat([*parts, *flags])
        size, started = message.numel() * message.element_size(), time.perf_counter() - self._began
        work = dist.all_reduce(message, group=self.over_ranks.group, async_op=True)
        assert work is not None  # this rank belongs to the group

        def finished(_: object) -> Reduction:
            return Reduction(index, size, started, time.perf_counter() - self._began)

        self._started.append((message, work, work.get_future().then(finished)))


@torch.no_grad()
def _check_same_values(parameters: Sequence[nn.Parameter], group: dist.ProcessGroup | None) -> None:
    differs = torch.zeros(len(parameters), dtype=torch.int64, device=parameters[0].device if parameters else None)
    for index, parameter in enumerate(parameters):
        first = parameter.detach().clone(memory_format=torch.contiguous_format)
        dist.broadcast(first, group=group, group_src=0)
        differs[index] = int(not torch.equal(first, parameter))
    dist.all_reduce(differs, group=group)
    if num := int(differs.count_nonzero()):
        raise ValueError(
            f"{num} of {len(parameters)} parameters have other values on some rank than on rank 0. Build the model "
            "from the same seed on every rank, or load the same weights."
        )


@torch.no_grad()
def _spread(message: Tensor, bucket: Sequence[nn.Parameter]) -> None:
    """Copy the sums of a bucket into its parameters' gradients."""
    flags = message[-len(bucket) :]
    parts = torch.split(message[: -len(bucket)], [parameter.numel() for parameter in bucket])
    for parameter, part, flag in zip(bucket, parts, flags, strict=True):
        if parameter.grad is not None:
            parameter.grad.copy_(part.view_as(parameter))
        elif flag > 0:  # another rank used it; read only here, since it waits for the device
            parameter.grad = part.view_as(parameter).clone()
