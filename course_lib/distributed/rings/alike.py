"""One small message before a collective, so that ranks which differ hear of it instead of hanging or mixing bytes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import rank, world_size

_CALLS = (
    "ring_all_reduce",
    "ring_reduce_scatter",
    "ring_all_gather",
    "ring_broadcast",
    "tree_broadcast",
    "naive_all_reduce",
)
_DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
)
_MAX_DIMS = 8


def num_members(group: dist.ProcessGroup | None) -> int:
    """Return how many ranks take part.

    Raises:
        ValueError: If this rank is not one of them.
    """
    size = world_size(group)
    if size < 1:
        raise ValueError(
            f"Rank {rank()} does not belong to the group that it passed: only the group's ranks may call this."
        )
    return size


def check_source(source: int, size: int) -> None:
    """Refuse to broadcast from a rank that does not exist."""
    if not 0 <= source < size:
        raise ValueError(f"source must be a rank from 0 to {size - 1}, got {source}.")


def shapes_alike(
    call: str,
    tensor: Tensor,
    group: dist.ProcessGroup | None,
    *,
    but: Literal["rows"] | None = None,
    source: int = 0,
) -> list[tuple[int, ...]]:
    """Return every rank's shape, having made sure that all call alike.

    Args:
        call: The function that was called, by name.
        tensor: What this rank passed.
        group: The ranks that take part.
        but: ``"rows"`` where ranks may have different numbers of rows.
        source: Whose values a broadcast takes.

    Raises:
        ValueError: On every rank alike, if they called different functions, passed other shapes, dtypes or sources, or
            there is no such source.
    """
    size = world_size(group)
    known = tensor.dtype in _DTYPES and tensor.dim() <= _MAX_DIMS
    shape = list(tensor.shape) if known else []
    numbers = [_CALLS.index(call), source, _DTYPES.index(tensor.dtype) if known else -1, len(shape), *shape]
    mine = torch.tensor(numbers + [0] * (_MAX_DIMS + 4 - len(numbers)), device=tensor.device)
    headers = [torch.empty_like(mine) for _ in range(size)]
    dist.all_gather(headers, mine, group=group)  # one small message: its size is the same whatever the tensors are
    ranks = [header.tolist() for header in headers]
    calls = [_CALLS[header[0]] for header in ranks]
    if len(set(calls)) > 1:
        raise ValueError(f"The ranks called different collectives: {_by_rank(calls)}. All must call the same one.")
    sources = [header[1] for header in ranks]
    if len(set(sources)) > 1:
        raise ValueError(
            f"{call} needs the same source on every rank, got {_by_rank([str(rank) for rank in sources])}."
        )
    check_source(source, size)
    unknown = [place for place, header in enumerate(ranks) if header[2] < 0]
    if unknown:
        wanted = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
        raise ValueError(
            f"{call} needs a tensor of at most {_MAX_DIMS} dimensions of one of {wanted}; "
            f"rank {unknown[0]} has another (this rank: {tensor.dtype})."
        )
    shapes = [tuple(header[4 : 4 + header[3]]) for header in ranks]
    if but == "rows" and () in shapes:
        raise ValueError(f"{call} needs a dimension of rows to put together, got a single number: reshape(1).")
    compared = [shape[1:] for shape in shapes] if but == "rows" else shapes
    if len({(header[2], len(shape), other) for header, shape, other in zip(ranks, shapes, compared, strict=True)}) > 1:
        described = [f"{shape} of {_DTYPES[header[2]]}" for header, shape in zip(ranks, shapes, strict=True)]
        rows = ", but for the number of rows" if but == "rows" else ""
        raise ValueError(f"{call} needs the same shape and dtype on every rank{rows}, got {_by_rank(described)}.")
    return shapes


def _by_rank(values: list[str]) -> str:
    return "; ".join(f"rank {rank}: {value}" for rank, value in enumerate(values))
