"""Ranks that compute one model together must see the same rows: told before sums mix or messages do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import all_sum, world_size
from course_lib.loops import Loss
from course_lib.loops.loss import Batch, exact_dtype


class SameRows:
    """Compares what ranks that compute one model together are given, and what comes out.

    The first time everything; later how many tensors there are and how large, which is where a rank would read what is
    not there. Under NCCL alone only the first time, since the comparison waits for the device; beside gloo it does not.

    Args:
        groups: Through which, one after the other, each rank hears of all the others: first the ranks that share a
            stage, then the stages.
        device: Of this rank.
    """

    def __init__(self, groups: Sequence[dist.ProcessGroup], device: torch.device) -> None:
        self._groups = [group for group in groups if world_size(group) > 1]
        by_cpu = all("gloo" in dist.get_backend_config(group) for group in self._groups)
        self._place = torch.device("cpu") if by_cpu else device
        self._rows_compared = self._losses_compared = False

    def check(self, micro_batches: Sequence[Batch]) -> None:
        """Compare what is to be computed.

        Raises:
            ValueError: On all ranks of this copy of the model alike, if it differs.
        """
        if not self._groups or (self._rows_compared and self._place.type != "cpu"):
            return
        digest = hashlib.sha256()
        for batch in micro_batches:
            _take_in(digest, batch, contents=not self._rows_compared)
        words = torch.frombuffer(bytearray(digest.digest()), dtype=torch.int64)
        mine = torch.cat([words, words.new_zeros(1)]).to(self._place)  # the last: whether a difference is known
        for group in self._groups:
            every = [torch.empty_like(mine) for _ in range(world_size(group))]
            dist.all_gather(every, mine, group=group)
            mine[-1] = max(int(other[-1] or not torch.equal(other, mine)) for other in every)
        if mine[-1]:
            raise ValueError(
                "ranks that compute one model together got different micro-batches: each of them must see the same "
                "rows. Split the data over copies of the model only: Batches(..., rank=rank(dp), "
                'world_size=world_size(dp)) with dp = mesh["dp"].get_group().'
            )
        self._rows_compared = True

    def check_losses(self, losses: Sequence[Loss]) -> None:
        """Compare, the first time only, what was computed from the same rows.

        Raises:
            ValueError: On all ranks of this copy of the model alike, if it differs.
        """
        if self._losses_compared:
            return
        totals = torch.stack([loss.total.detach() for loss in losses])
        for group in self._groups:
            first = totals.clone()
            dist.broadcast(first, group=group, group_src=0)
            differs = ~torch.isclose(totals, first, rtol=1e-3, equal_nan=True)
            number = differs.any().to(exact_dtype(totals.device))
            all_sum([number], group)
            if number:
                raise ValueError(
                    "ranks that compute one model together got different losses from the same rows. Do they draw "
                    "different random numbers (seed generators alike on them), or did layers start from different "
                    "weights?"
                )
        self._losses_compared = True


def _take_in(digest: hashlib._Hash, value: object, *, contents: bool) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{tuple(value.shape)}{value.dtype}".encode())
        if contents:
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key, one in value.items():
            digest.update(f"{key!r}:".encode())
            _take_in(digest, one, contents=contents)
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} of".encode())
        for one in value:
            _take_in(digest, one, contents=contents)
    else:
        plain = isinstance(value, int | float | str | None)
        digest.update((repr(value) if plain and contents else type(value).__name__).encode())
    digest.update(b"|")
