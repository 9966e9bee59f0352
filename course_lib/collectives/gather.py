"""All-gather that keeps gradients, so that a loss which compares rows sees every rank's rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives.ranks import initialized, rank, world_size


class _GatherRows(torch.autograd.Function):
    """Forward: all-gather. Backward: all-reduce of the gradient, then my slice of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        gathered = [torch.empty_like(rows) for _ in range(world_size(group))]
        dist.all_gather(gathered, rows.contiguous(), group=group)
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)  # every rank's loss used my rows
        return total.chunk(world_size(ctx.group))[rank(ctx.group)], None


def gather_rows(rows: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Concatenate ``rows`` of every rank, in rank order, with gradients flowing back.

    Each rank's gradient is the sum of what all ranks' losses send back to its rows. Without a
    process group this is the identity.

    Shape:
        - rows: ``(n, ...)``, the same ``n`` on every rank
        - output: ``(n * world_size, ...)``

    Raises:
        ValueError: On every rank alike, if the ranks hold different numbers of rows.

    Example:
        >>> rows = torch.ones(3, 2)
        >>> gather_rows(rows) is rows
        True
    """
    if not initialized():
        return rows
    mine = torch.tensor(len(rows), device=rows.device)  # on the device: NCCL gathers nothing else
    counts = [torch.zeros_like(mine) for _ in range(world_size(group))]
    dist.all_gather(counts, mine, group=group)
    lengths = [int(count) for count in counts]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"gather_rows needs as many rows on every rank, got {lengths}. "
            "Drop the last short batch (drop_last=True) or pad it."
        )
    gathered: Tensor = _GatherRows.apply(rows, group)  # type: ignore[no-untyped-call]
    return gathered
