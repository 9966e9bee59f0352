"""All-reduce by addition: every rank ends with the sum of what all ranks had."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives.ranks import initialized


@torch.no_grad()
def all_sum(tensors: Sequence[Tensor], group: dist.ProcessGroup | None = None) -> None:
    """Replace each tensor by its sum over all ranks, in place.

    Tensors of one dtype and device travel together in one message, because many small messages
    cost many latencies. Without a process group this is the identity, so single-process code
    needs no branch. No gradient flows through it.

    Args:
        tensors: The same number, shapes and dtypes on every rank, in the same order.
        group: The ranks that take part; all of them by default.

    Example:
        >>> parts = [torch.ones(2), torch.tensor(3.0)]
        >>> all_sum(parts)  # one process: nothing to add
        >>> parts
        [tensor([1., 1.]), tensor(3.)]
    """
    if not initialized():
        return
    together: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        together.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for members in together.values():
        message = torch.cat([member.flatten() for member in members])
        dist.all_reduce(message, group=group)
        parts = torch.split(message, [member.numel() for member in members])
        for member, part in zip(members, parts, strict=True):
            member.copy_(part.view_as(member))
