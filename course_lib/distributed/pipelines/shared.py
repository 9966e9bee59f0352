"""What the stages of a pipeline must agree on: rows, losses, and the length of the whole gradient."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import all_sum, rank, world_size
from course_lib.loops import Loss
from course_lib.loops.checkpoints.between_ranks import gather_bytes
from course_lib.loops.loss import Batch, exact_dtype


def check_tuples(micro_batches: Sequence[Batch]) -> None:
    """Refuse a micro-batch that is no tuple of tensors."""
    for batch in micro_batches:
        if not (isinstance(batch, tuple | list) and batch and all(isinstance(one, Tensor) for one in batch)):
            raise ValueError(
                "a pipeline takes micro-batches (x, ...) of tensors, of which the first stage reads x and the last "
                f"one the rest; got {type(batch).__name__}."
            )


class SharedLosses:
    """Gives all stages the losses that only the last one can compute.

    Args:
        group: The stages of this pipeline.
        device: Of this rank.
    """

    def __init__(self, group: dist.ProcessGroup, device: torch.device) -> None:
        self._group, self._device = group, device
        self._names: list[str] | None = None

    def __call__(self, losses: Sequence[Loss], num_micro_batches: int) -> list[Loss]:
        """Return the last stage's ``losses``; what other stages pass is not read."""
        last = world_size(self._group) - 1
        is_last = rank(self._group) == last
        names = sorted(losses[0].metrics) if is_last else []
        if self._names is None:
            self._names = json.loads(gather_bytes(json.dumps(names).encode(), self._device, self._group)[last])
        rows = torch.zeros(
            num_micro_batches, 2 + len(self._names), dtype=exact_dtype(self._device), device=self._device
        )
        if is_last:
            for row, loss in zip(rows, losses, strict=True):
                if sorted(loss.metrics) != self._names:
                    raise ValueError(f"metrics were {self._names} in the first step, now {sorted(loss.metrics)}.")
                row[0], row[1] = loss.total, loss.count
                for place, name in enumerate(self._names, start=2):
                    row[place] = loss.metrics[name]
        dist.broadcast(rows, group=self._group, group_src=last)
        return [
            Loss(row[0], row[1].long(), dict(zip(self._names, row[2:].unbind(), strict=True))) for row in rows.unbind()
        ]


def norm_over_stages(
    group: dist.ProcessGroup,
    within: Callable[[Sequence[nn.Parameter]], Tensor],
    counted_elsewhere: Callable[[], nn.Parameter | None],
    device: torch.device,
) -> Callable[[Sequence[nn.Parameter]], Tensor]:
    """Return a function from one stage's parameters to the norm of the gradient of all stages.

    Args:
        group: The stages of this pipeline.
        within: Measures one stage's gradient.
        counted_elsewhere: Returns the parameter that another stage counts already, or None.
        device: Of this rank.
    """

    def norm(parameters: Sequence[nn.Parameter]) -> Tensor:
        mine = [parameter for parameter in parameters if parameter is not counted_elsewhere()]
        squares = torch.zeros((), dtype=exact_dtype(device), device=device)
        if mine:
            squares = within(mine).detach().to(squares.dtype).square()
        all_sum([squares], group)
        return squares.sqrt()

    return norm


def collected(tensors: Mapping[str, Tensor], group: dist.ProcessGroup, device: torch.device) -> dict[str, Tensor]:
    """Return the named tensors of all stages together, on the CPU; every stage calls this."""
    from safetensors.torch import load, save

    mine = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return {name: t for part in gather_bytes(save(mine), device, group) for name, t in load(part).items()}


def unsplittable(num_micro_batches: int) -> ValueError:
    """The error for an objective that compares the rows of its batch."""
    return ValueError(
        f"this objective compares the rows of its batch (count=None), so it cannot be computed on {num_micro_batches} "
        "micro-batches in a pipeline: take one that sums over rows."
    )
