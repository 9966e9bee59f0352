"""Which process am I, and how many are there? One process when no process group exists."""

from __future__ import annotations

import torch.distributed as dist

if dist.is_available():
    # Its functions take the default group of the moment of import as their default argument. Imported only later (torch
    # does so when the first optimizer is made), they would hold the group beyond destroy_process_group: gloo's threads
    # would still be running when the interpreter ends, and can abort it.
    import torch.distributed.nn.functional  # noqa: F401


def initialized() -> bool:
    """Return whether a process group exists, so that collectives really communicate."""
    return dist.is_available() and dist.is_initialized()


def rank(group: dist.ProcessGroup | None = None) -> int:
    """Return this process's number in ``group``, from 0; 0 without a process group."""
    return dist.get_rank(group) if initialized() else 0


def world_size(group: dist.ProcessGroup | None = None) -> int:
    """Return how many processes ``group`` has; 1 without a process group."""
    return dist.get_world_size(group) if initialized() else 1
