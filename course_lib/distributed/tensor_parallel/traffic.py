"""What tensor parallelism sends, counted as it happens and from the formula."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

_KINDS = {  # torch's names begin so, by hand and in DTensor
    "allreduce": "all_reduce",
    "all_reduce": "all_reduce",
    "allgather": "all_gather",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "broadcast": "broadcast",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "send": "send",
}
Kind = Literal["all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all", "send"]


@dataclass(slots=True)
class CountedCollectives:
    """How many collectives of each kind this rank has called, and the bytes of what they were about.

    Bytes are those of the whole tensor: the sum of an all-reduce, what an all-gather puts together, what a
    reduce-scatter takes apart.
    """

    calls: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def ring_bytes(self, num_ranks: int) -> float:
        """Return what each of ``num_ranks`` sends by rings: ``(p - 1) / p`` of the bytes, twice for an all-reduce."""
        times = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1}
        return (num_ranks - 1) / num_ranks * sum(times.get(kind, 0) * size for kind, size in self.bytes.items())

    def add(self, kind: str, size: int) -> None:
        """Count one."""
        self.calls[kind] = self.calls.get(kind, 0) + 1
        self.bytes[kind] = self.bytes.get(kind, 0) + size


@contextmanager
def counting_collectives() -> Iterator[CountedCollectives]:
    """Count every collective that this rank calls inside, backward passes included, whether by hand or by DTensor.

    Example:
        >>> import torch
        >>> with counting_collectives() as counted:
        ...     _ = torch.ones(2).sum()  # nothing is sent
        >>> counted.calls
        {}
    """
    from torch.distributed.tensor import DTensor
    from torch.utils._python_dispatch import TorchDispatchMode

    counted = CountedCollectives()

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(kind is DTensor for kind in types):
                return NotImplemented  # its plain parts come by afterwards
            out = func(*args, **(kwargs or {}))
            space, _, name = func.name().partition("::")
            if space in ("c10d", "_c10d_functional"):
                for start, kind in _KINDS.items():
                    if name.lstrip("_").startswith(start):
                        counted.add(kind, max(_bytes(args), _bytes(out)))
                        break
            return out

    with Counting():  # type: ignore[no-untyped-call]
        yield counted


def block_traffic(
    num_tokens: int, width: int, *, num_ranks: int, element_size: int, sequence_parallel: bool = False
) -> CountedCollectives:
    """Return what one split block of a transformer sends for a forward and a backward pass.

    Attention and the feed-forward layer each add up an activation of ``num_tokens * width`` numbers forward, and its
    gradient backward: four all-reduces. With sequence parallelism each is a reduce-scatter and an all-gather.

    Args:
        num_tokens: B times T.
        width: D.
        num_ranks: p; one rank sends nothing.
        element_size: Bytes of a number.
        sequence_parallel: See `split_block`.

    Example:
        >>> traffic = block_traffic(2048, 4096, num_ranks=8, element_size=2)
        >>> traffic.calls, round(traffic.ring_bytes(8) / 1e6)  # megabytes sent by each rank
        ({'all_reduce': 4}, 117)

    Reference: Narayanan et al. 2021, Efficient large-scale language model training on GPU clusters using Megatron-LM,
    section 3.2, https://arxiv.org/abs/2104.04473
    """
    counted = CountedCollectives()
    if num_ranks > 1:
        for kind in ("reduce_scatter", "all_gather") if sequence_parallel else ("all_reduce",):
            for _ in range(4):
                counted.add(kind, num_tokens * width * element_size)
    return counted


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, list | tuple):
        return max((_bytes(one) for one in value), default=0)
    return 0
