"""What one rank does before the others, which then find its result in files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from course_lib.collectives import rank, world_size
from course_lib.loops import CheckpointError
from course_lib.loops.checkpoints.between_ranks import gather_bytes

_PATIENCE = timedelta(days=7)  # for rank 0, which may tokenise for hours; that it has died is noticed at once

Made = TypeVar("Made")


def first_alone(first: Callable[[], Made], others: Callable[[], Made] | None = None) -> Made:
    """Return what ``first`` makes on rank 0 and, when that is done, what ``others`` makes elsewhere.

    Whatever rank 0 leaves in files is there for the others.

    Args:
        first: Called on rank 0, and in a single process.
        others: Called on the other ranks afterwards; by default ``first``.

    Raises:
        ValueError: On all ranks, if ``first`` raised one.
        CheckpointError: On the other ranks, if ``first`` raised anything else.
    """
    if world_size() == 1:
        return first()
    waiting = dist.new_group(backend="gloo", timeout=_PATIENCE)
    failure, made = b"", []
    try:
        if rank() == 0:
            made.append(first())
    except Exception as error:
        failure = f"{isinstance(error, ValueError):d}{error}".encode(errors="replace")
        raise
    finally:
        report = gather_bytes(failure, torch.device("cpu"), waiting)[0]
        dist.destroy_process_group(waiting)
    if report:
        raise (ValueError if report.startswith(b"1") else CheckpointError)(f"rank 0: {report[1:].decode()}")
    return made[0] if made else (others or first)()
