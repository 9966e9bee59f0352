"""Counting what a rank sends: messages and bytes, measured by the collectives here and known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

RingCollective = Literal["all_reduce", "reduce_scatter", "all_gather", "broadcast"]


@dataclass(slots=True)
class Traffic:
    """What this rank has sent: pass one to a collective of this package, which adds to it.

    Only the payload counts: not the headers of the network, nor the small check that all ranks call alike.

    Example:
        >>> import torch
        >>> traffic = Traffic()
        >>> traffic.add(torch.zeros(10))
        >>> traffic
        Traffic(messages=1, bytes=40)
    """

    messages: int = 0
    bytes: int = 0

    def add(self, message: Tensor) -> None:
        """Count one message."""
        self.messages += 1
        self.bytes += message.numel() * message.element_size()


def chunk_sizes(num_elements: int, num_ranks: int) -> list[int]:
    """Return into how many elements each of the ring's chunks falls: the first ones have one more where it must be.

    Example:
        >>> chunk_sizes(10, 4)
        [3, 3, 2, 2]
    """
    size, rest = divmod(num_elements, num_ranks)
    return [size + (index < rest) for index in range(num_ranks)]


def ring_traffic(
    collective: RingCollective, num_elements: int, *, element_size: int, num_ranks: int, rank: int
) -> Traffic:
    """Return exactly what ``rank`` sends in a ring collective of this package.

    Reduce-scatter sends every chunk but this rank's own, all-gather every chunk but its right neighbour's: together
    ``2 (p - 1) / p`` of the data on ``p`` ranks if that divides, however many ranks there are. Else the ranks differ by
    an element or two. An empty chunk is not sent.

    Args:
        collective: Which; broadcast comes from rank 0.
        num_elements: Of the whole tensor: for all-gather of all ranks' rows together, evenly split.
        element_size: Bytes of one.
        num_ranks: How many ranks form the ring.
        rank: Whose traffic.

    Example:
        >>> ring_traffic("all_reduce", 1000, element_size=4, num_ranks=4, rank=0)  # 2 * 3/4 of 4000 bytes
        Traffic(messages=6, bytes=6000)

    Reference:
        Patarasuk and Yuan (2009), "Bandwidth optimal all-reduce algorithms for clusters of workstations".
    """
    chunks = chunk_sizes(num_elements, num_ranks)
    others = [chunk for index, chunk in enumerate(chunks) if index != rank]
    not_the_next = [chunk for index, chunk in enumerate(chunks) if index != (rank + 1) % num_ranks]
    sent = {
        "all_reduce": others + not_the_next,
        "reduce_scatter": others,
        "all_gather": not_the_next,
        "broadcast": chunks if rank < num_ranks - 1 else [],
    }[collective]
    return Traffic(sum(size > 0 for size in sent), sum(sent) * element_size)
