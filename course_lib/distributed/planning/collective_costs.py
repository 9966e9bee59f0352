"""What each collective must do, counted: messages in a row, bytes in a row, bytes out of the busiest rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Collective = Literal["send", "broadcast", "all_gather", "reduce_scatter", "all_reduce"]
Algorithm = Literal["ring", "tree", "naive"]

_DEFAULT: dict[Collective, Algorithm] = {
    "send": "ring",
    "broadcast": "tree",
    "all_gather": "ring",
    "reduce_scatter": "ring",
    "all_reduce": "ring",
}
_KNOWN: set[tuple[Collective, Algorithm]] = {
    *_DEFAULT.items(),
    ("broadcast", "naive"),
    ("all_reduce", "tree"),
    ("all_reduce", "naive"),
}


@dataclass(frozen=True, slots=True)
class CollectiveCost:
    """A collective in numbers.

    Args:
        num_messages: That have to wait for each other, one after the other.
        chain_bytes: Of these messages together.
        sent_bytes: That the busiest rank sends; in a ring all ranks are equally busy.
    """

    num_messages: int
    chain_bytes: float
    sent_bytes: float


def collective_cost(
    collective: Collective, num_bytes: float, *, num_ranks: int, algorithm: Algorithm | None = None
) -> CollectiveCost:
    """Return what a collective over ``num_ranks`` costs.

    - ring: each rank passes pieces of 1/p of the tensor to its neighbour. Scattering the sums takes p - 1 rounds,
      gathering them p - 1 more, so an all-reduce moves 2 (p - 1) / p of the tensor per rank, hardly more for a
      thousand ranks than for two; but its 2 (p - 1) messages wait for each other.
    - tree: in each round twice as many ranks have the tensor (broadcast), or half as many partial sums are left
      (reduce): few messages, each of the whole tensor. (Libraries cut the tensor up and let the pieces follow each
      other through the tree, so that bandwidth is used twice and not 2 log2 p times; that is not counted here.)
    - naive: rank 0 gets the tensor of every other rank, one after the other, adds, and sends the sum to each.

    Args:
        collective: What is done. ``"send"`` is one message between two ranks.
        num_bytes: Of the whole tensor: what each rank has before an all-reduce or a reduce-scatter, and after an
            all-gather or a broadcast.
        num_ranks: p.
        algorithm: By default a ring, and a tree for a broadcast.

    Raises:
        ValueError: If sizes are negative, there is no rank, or the collective is not done that way.

    Example:
        >>> ring, naive = (collective_cost("all_reduce", 800, num_ranks=8, algorithm=a) for a in ("ring", "naive"))
        >>> ring.sent_bytes, naive.sent_bytes
        (1400.0, 5600)
        >>> ring.num_messages, collective_cost("all_reduce", 800, num_ranks=8, algorithm="tree").num_messages
        (14, 6)

    Reference: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations";
    Thakur, Rabenseifner and Gropp 2005, "Optimization of collective communication operations in MPICH"
    """
    if collective not in get_args(Collective):
        raise ValueError(f"collective must be one of {get_args(Collective)}, got {collective!r}.")
    way = algorithm or _DEFAULT[collective]
    if (collective, way) not in _KNOWN:
        raise ValueError(
            f"no {way!r} algorithm is counted for {collective!r}: leave it out for {_DEFAULT[collective]!r}."
        )
    if not num_bytes >= 0 or num_ranks < 1:
        raise ValueError(f"expected 0 or more bytes and 1 or more ranks, got {num_bytes} and {num_ranks}.")
    others = num_ranks - 1
    if others == 0:
        return CollectiveCost(0, 0.0, 0.0)
    if collective == "send":
        return CollectiveCost(1, num_bytes, num_bytes)
    phases = 2 if collective == "all_reduce" else 1
    if way == "ring":
        moved = phases * others / num_ranks * num_bytes
        return CollectiveCost(phases * others, moved, moved)
    if way == "naive":
        return CollectiveCost(phases * others, phases * others * num_bytes, others * num_bytes)
    rounds = others.bit_length()  # log2 of the ranks, rounded up
    return CollectiveCost(phases * rounds, phases * rounds * num_bytes, rounds * num_bytes)
