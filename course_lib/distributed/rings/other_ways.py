"""Two ways to compare the ring with: everything through one rank, and a tree that doubles who knows."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import rank
from course_lib.distributed.rings.alike import check_source, num_members, shapes_alike
from course_lib.distributed.rings.traffic import Traffic


@torch.no_grad()
def naive_all_reduce(tensor: Tensor, *, group: dist.ProcessGroup | None = None, traffic: Traffic | None = None) -> None:
    """Replace ``tensor`` by its sum over all ranks, in place: all send to rank 0, which adds and sends back.

    Rank 0 sends (and receives) ``p - 1`` whole tensors while the others wait: its link is the bottleneck, and the more
    so the more ranks there are.

    Args:
        tensor: The same shape and dtype on every rank.
        group: The ranks that take part; all of them by default. Without a process group nothing happens.
        traffic: Counts what this rank sends.

    Raises:
        ValueError: On every rank alike, if shapes or dtypes differ.
    """
    size = num_members(group)
    if size == 1:
        return
    shapes_alike("naive_all_reduce", tensor, group)
    total = tensor.contiguous()
    if rank(group) == 0:
        part = torch.empty_like(total)
        for other in range(1, size):
            _receive(part, other, group)
            total += part
        for other in range(1, size):
            _send(total, other, group, traffic)
    else:
        _send(total, 0, group, traffic)
        _receive(total, 0, group)
    if not tensor.is_contiguous():
        tensor.copy_(total)


@torch.no_grad()
def tree_broadcast(
    tensor: Tensor, *, source: int = 0, group: dist.ProcessGroup | None = None, traffic: Traffic | None = None
) -> None:
    """Overwrite ``tensor`` on every rank by that of ``source``, in place, in ``log2 p`` rounds.

    In each round every rank that has the values sends them to one that has not. With few bytes the number of rounds is
    what takes time: a thousand ranks need 10 of them, a ring 999 steps.

    Args:
        tensor: The same shape and dtype on every rank.
        source: Whose values, as a rank of the group.
        group: The ranks that take part; all of them by default.
        traffic: Counts what this rank sends.

    Raises:
        ValueError: On every rank alike, if shapes, dtypes or sources differ, or there is no such source.
    """
    size = num_members(group)
    if size == 1:
        check_source(source, size)
        return
    shapes_alike("tree_broadcast", tensor, group, source=source)
    position = (rank(group) - source) % size
    values = tensor.contiguous()
    have = 1
    while have < size:
        if position < have and position + have < size:
            _send(values, (position + have + source) % size, group, traffic)
        elif have <= position < 2 * have:
            _receive(values, (position - have + source) % size, group)
        have *= 2
    if not tensor.is_contiguous():
        tensor.copy_(values)


def _send(tensor: Tensor, to: int, group: dist.ProcessGroup | None, traffic: Traffic | None) -> None:
    if tensor.numel():
        dist.send(tensor, group=group, group_dst=to)
        if traffic is not None:
            traffic.add(tensor)


def _receive(tensor: Tensor, source: int, group: dist.ProcessGroup | None) -> None:
    if tensor.numel():
        dist.recv(tensor, group=group, group_src=source)
