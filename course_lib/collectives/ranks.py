"""Which process am I, and how many are there? One process when no process group exists."""

from __future__ import annotations

import torch.distributed as dist


def initialized() -> bool:
    """Return whether a process group exists, so that collectives really communicate."""
    return dist.is_available() and dist.is_initialized()


def rank(group: dist.ProcessGroup | None = None) -> int:
    """Return this process's number in ``group``, from 0; 0 without a process group."""
    return dist.get_rank(group) if initialized() else 0


def world_size(group: dist.ProcessGroup | None = None) -> int:
    """Return how many processes ``group`` has; 1 without a process group."""
    return dist.get_world_size(group) if initialized() else 1
