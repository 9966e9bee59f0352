"""Collectives over a ring: each rank sends to its right neighbour and receives from its left, and nobody else.

Every rank is busy all the time, and what it sends does not grow with the number of ranks: the ring uses the network's
bandwidth as well as can be. Its price is latency, p - 1 steps one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import rank, world_size
from course_lib.distributed.rings.alike import check_source, num_members, shapes_alike
from course_lib.distributed.rings.traffic import Traffic, chunk_sizes


@torch.no_grad()
def ring_all_reduce(tensor: Tensor, *, group: dist.ProcessGroup | None = None, traffic: Traffic | None = None) -> None:
    """Replace ``tensor`` by its sum over all ranks, in place: reduce-scatter, then all-gather.

    Each rank sends ``2 (p - 1) / p`` of the tensor (see :func:`ring_traffic`), where sending all to one rank and back
    would load that one with ``p - 1`` tensors in each direction. Every rank gets the same bits, since each chunk
    was summed on one rank, in the order of the ring.

    Args:
        tensor: The same shape and dtype on every rank; any number of elements.
        group: The ranks that take part; all of them by default. Without a process group nothing happens.
        traffic: Counts what this rank sends.

    Raises:
        ValueError: On every rank alike, if shapes or dtypes differ.

    Example:
        >>> from course_lib.distributed import launch
        >>> def work():
        ...     total, traffic = torch.arange(4) * (rank() + 1), Traffic()
        ...     ring_all_reduce(total, traffic=traffic)
        ...     return total.tolist(), traffic.bytes  # half of the 32 bytes, twice
        >>> launch(work, num_workers=2)
        [([0, 3, 6, 9], 32), ([0, 3, 6, 9], 32)]

    Reference:
        Patarasuk and Yuan (2009), "Bandwidth optimal all-reduce algorithms for clusters of workstations".
    """
    if num_members(group) == 1:
        return
    shapes_alike("ring_all_reduce", tensor, group)
    flat = tensor.contiguous().view(-1)  # of the tensor itself, or of a copy if it is not contiguous
    chunks = list(torch.split(flat, chunk_sizes(flat.numel(), world_size(group))))
    _reduce_scatter(chunks, group, traffic)
    _all_gather(chunks, group, traffic)
    if not tensor.is_contiguous():
        tensor.copy_(flat.view_as(tensor))


@torch.no_grad()
def ring_reduce_scatter(
    tensor: Tensor, *, group: dist.ProcessGroup | None = None, traffic: Traffic | None = None
) -> Tensor:
    """Return this rank's chunk of the sum over all ranks; ``tensor`` stays as it is.

    A sum travels round the ring and each rank adds its part to it, p of them at once, one for each chunk.

    Args:
        tensor: The same shape and dtype on every rank; any number of elements.
        group: The ranks that take part; all of them by default.
        traffic: Counts what this rank sends.

    Shape:
        - output: ``(chunk,)``, of the flattened tensor; the sizes are those of :func:`chunk_sizes`

    Raises:
        ValueError: On every rank alike, if shapes or dtypes differ.

    Example:
        >>> ring_reduce_scatter(torch.ones(2, 2))  # one process: its chunk is the whole
        tensor([1., 1., 1., 1.])
    """
    flat = tensor.clone(memory_format=torch.contiguous_format).view(-1)
    if num_members(group) == 1:
        return flat
    shapes_alike("ring_reduce_scatter", tensor, group)
    chunks = list(torch.split(flat, chunk_sizes(flat.numel(), world_size(group))))
    _reduce_scatter(chunks, group, traffic)
    return chunks[rank(group)].clone()


@torch.no_grad()
def ring_all_gather(rows: Tensor, *, group: dist.ProcessGroup | None = None, traffic: Traffic | None = None) -> Tensor:
    """Return the rows of all ranks, in rank order.

    Args:
        rows: Any number of rows, also a different one on each rank.
        group: The ranks that take part; all of them by default.
        traffic: Counts what this rank sends.

    Shape:
        - rows: ``(n, ...)``, all but ``n`` the same on every rank
        - output: ``(sum of n, ...)``

    Raises:
        ValueError: On every rank alike, if dtypes or the shapes of a row differ, or if there is no dimension of rows.

    Example:
        >>> ring_all_gather(torch.ones(1, 2))  # one process: there are no other rows
        tensor([[1., 1.]])
    """
    if num_members(group) == 1:
        if rows.dim() == 0:
            raise ValueError("ring_all_gather needs a dimension of rows to put together, got a single number.")
        return rows.clone()
    shapes = shapes_alike("ring_all_gather", rows, group, but="rows")
    lengths = [shape[0] for shape in shapes]
    gathered = rows.new_empty((sum(lengths), *rows.shape[1:]))
    parts = torch.split(gathered, lengths)
    parts[rank(group)].copy_(rows)
    _all_gather([part.view(-1) for part in parts], group, traffic)
    return gathered


@torch.no_grad()
def ring_broadcast(
    tensor: Tensor, *, source: int = 0, group: dist.ProcessGroup | None = None, traffic: Traffic | None = None
) -> None:
    """Overwrite ``tensor`` on every rank by that of ``source``, in place.

    The tensor goes along the ring in as many pieces as there are ranks, so that a rank passes on one piece while the
    next is on its way.

    Args:
        tensor: The same shape and dtype on every rank.
        source: Whose values, as a rank of the group.
        group: The ranks that take part; all of them by default.
        traffic: Counts what this rank sends: the whole tensor, the rank left of the source nothing.

    Raises:
        ValueError: On every rank alike, if shapes, dtypes or sources differ, or there is no such source.
    """
    size = num_members(group)
    if size == 1:
        check_source(source, size)
        return
    shapes_alike("ring_broadcast", tensor, group, source=source)
    left, right = _neighbours(group)
    position = (rank(group) - source) % size
    flat = tensor.contiguous().view(-1)
    sending = []
    for piece in torch.split(flat, chunk_sizes(flat.numel(), size)):
        if not piece.numel():
            continue
        if position > 0:
            dist.recv(piece, group=group, group_src=left)
        if position < size - 1:
            sending.append(dist.isend(piece, group=group, group_dst=right))
            _count(piece, traffic)
    for work in sending:
        if work is not None:
            work.wait()
    if not tensor.is_contiguous():
        tensor.copy_(flat.view_as(tensor))


def _reduce_scatter(chunks: Sequence[Tensor], group: dist.ProcessGroup | None, traffic: Traffic | None) -> None:
    """Leave in ``chunks[rank]`` its sum over all ranks; the other chunks hold partial sums."""
    me, size = rank(group), world_size(group)
    for step in range(size - 1):
        partial, mine = chunks[(me - step - 1) % size], chunks[(me - step - 2) % size]
        arriving = torch.empty_like(mine)
        _exchange(partial, arriving, group, traffic)
        mine += arriving


def _all_gather(chunks: Sequence[Tensor], group: dist.ProcessGroup | None, traffic: Traffic | None) -> None:
    """Fill all ``chunks``, of which this rank has its own."""
    me, size = rank(group), world_size(group)
    for step in range(size - 1):
        _exchange(chunks[(me - step) % size], chunks[(me - step - 1) % size], group, traffic)


def _exchange(sent: Tensor, received: Tensor, group: dist.ProcessGroup | None, traffic: Traffic | None) -> None:
    """Send to the right and receive from the left at the same time: if all sent first, all could wait for ever."""
    left, right = _neighbours(group)
    operations = []
    if sent.numel():
        operations.append(dist.P2POp(dist.isend, sent, group=group, group_peer=right))
        _count(sent, traffic)
    if received.numel():
        operations.append(dist.P2POp(dist.irecv, received, group=group, group_peer=left))
    for work in dist.batch_isend_irecv(operations) if operations else ():
        work.wait()


def _neighbours(group: dist.ProcessGroup | None) -> tuple[int, int]:
    """The ranks to the left and to the right, numbered within the group."""
    me, size = rank(group), world_size(group)
    return (me - 1) % size, (me + 1) % size


def _count(message: Tensor, traffic: Traffic | None) -> None:
    if traffic is not None:
        traffic.add(message)
