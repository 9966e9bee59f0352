"""What ranks that save together tell each other: bytes of any length, and that something went wrong on one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from course_lib.collectives import gather_rows, world_size
from course_lib.loops.checkpoints.checkpoint_files import CheckpointError


def gather_bytes(message: bytes, device: torch.device, group: dist.ProcessGroup | None = None) -> list[bytes]:
    """Return every rank's message, in rank order, without pickling; all ranks call this.

    Args:
        message: Of any length, which may differ between ranks.
        device: Of this rank: the backend carries only what lies there.
        group: The ranks that take part; all of them by default.

    Example:
        >>> gather_bytes(b"alone", torch.device("cpu"))
        [b'alone']
    """
    if world_size(group) == 1:
        return [message]
    lengths = gather_rows(torch.tensor([len(message)], device=device), group).tolist()
    padded = torch.zeros(1, max(1, *lengths), dtype=torch.uint8)
    padded[0, : len(message)] = torch.frombuffer(bytearray(message or b"\0"), dtype=torch.uint8)[: len(message)]
    rows = gather_rows(padded.to(device), group).cpu().numpy()
    return [bytes(row[:length]) for row, length in zip(rows, lengths, strict=True)]


@contextmanager
def all_or_none(device: torch.device) -> Iterator[None]:
    """Wait for all ranks at the end of the block; what went wrong on one is raised on all.

    Raises:
        ValueError: If a rank raised one.
        CheckpointError: If a rank raised anything else.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    report = b"" if failure is None else f"{isinstance(failure, ValueError):d}{failure}".encode(errors="replace")
    reports = gather_bytes(report, device)
    if failure is not None:
        raise failure
    for place, other in enumerate(reports):
        if other:
            kind = ValueError if other.startswith(b"1") else CheckpointError
            raise kind(f"rank {place}: {other[1:].decode()}")
