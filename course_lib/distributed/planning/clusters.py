"""Clusters as planners see them: fast links inside a node, slower ones between nodes, with published figures."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.distributed.planning.collective_costs import Collective
from course_lib.distributed.planning.links import CommunicationModel
from course_lib.scaling import Chip, Source, Sourced
from course_lib.scaling.chips import chip as chip_named

READ_ON = "2026-11-23"  # when these figures were last compared with what is published

_A100_SHEET = Source("NVIDIA A100 tensor core GPU, data sheet", "NVIDIA", "June 2021", read_on=READ_ON)
_H100_SHEET = Source("NVIDIA H100 tensor core GPU architecture, white paper", "NVIDIA", "2022", read_on=READ_ON)
_MEGATRON = Source(
    "Efficient large-scale language model training on GPU clusters using Megatron-LM, section 5",
    "Narayanan et al.",
    "2021",
    "https://arxiv.org/abs/2104.04473",
    READ_ON,
)
_LLAMA_3 = Source(
    "The Llama 3 herd of models, section 3.3.1", "Meta", "July 2024", "https://arxiv.org/abs/2407.21783", READ_ON
)
_NCCL_ISSUE = Source(
    "nccl-tests issue 212, answer of a maintainer of NCCL",
    "NVIDIA",
    "2024-05-06",
    "https://github.com/NVIDIA/nccl-tests/issues/212",
    READ_ON,
)
_NCCL_TUNING = Source("NCCL, src/graph/tuning.cc, ring with the Simple protocol", "NVIDIA", "undated", read_on=READ_ON)

LINK_EFFICIENCY = Sourced(
    370 / 450,
    "of the line rate",
    _NCCL_ISSUE,
    "NVLink of an H100, large messages. Taken for the network as well, where an adapter does better: 24 of 25 GB/s, "
    "says the same maintainer (nccl-tests issue 119, 2022-11-17); the difference is left to congestion",
)
_NVLINK_LATENCY = Sourced(3.4e-6, "seconds a message", _NCCL_TUNING, "what NCCL reckons with when it chooses")
_NETWORK_LATENCY = Sourced(14e-6, "seconds a message", _NCCL_TUNING, "what NCCL reckons with when it chooses")


@dataclass(frozen=True, slots=True)
class Fabric:
    """How the nodes of one kind of cluster are wired.

    Args:
        chip: Name of its accelerator in `course_lib.scaling.CHIPS`.
        chips_per_node: That share the fast links.
        inside: Line rate of a chip's links inside the node, one direction.
        between: Line rate of its share of the network, one direction.
    """

    chip: str
    chips_per_node: int
    inside: Sourced
    between: Sourced


FABRICS: dict[str, Fabric] = {
    "A100, InfiniBand": Fabric(
        "A100 SXM 80GB",
        8,
        Sourced(300e9, "bytes a second", _A100_SHEET, "NVLink 3; half of the 600 GB/s that count both directions"),
        Sourced(25e9, "bytes a second", _MEGATRON, "eight 200 Gb/s HDR adapters for eight GPUs"),
    ),
    "H100, 400 Gb/s": Fabric(
        "H100 SXM",
        8,
        Sourced(450e9, "bytes a second", _H100_SHEET, "NVLink 4; half of the 900 GB/s that count both directions"),
        Sourced(50e9, "bytes a second", _LLAMA_3, "RoCE or InfiniBand, 400 Gb/s between GPUs"),
    ),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Chips in nodes. Ranks are numbered node by node, so ranks that are neighbours in number share a node.

    Args:
        chip: Of which kind.
        num_chips: In all.
        chips_per_node: That share the links inside.
        inside: Between two chips of a node.
        between: Between chips of different nodes; each chip has such a link to itself, in both directions.

    Raises:
        ValueError: If there is no chip, or nodes would be filled in part.
    """

    chip: Chip
    num_chips: int
    chips_per_node: int
    inside: CommunicationModel
    between: CommunicationModel

    def __post_init__(self) -> None:
        if min(self.num_chips, self.chips_per_node) < 1 or (
            self.num_chips > self.chips_per_node and self.num_chips % self.chips_per_node
        ):
            raise ValueError(
                f"a cluster consists of whole nodes: got {self.num_chips} chips, {self.chips_per_node} a node."
            )

    def seconds(self, collective: Collective, num_bytes: float, *, num_ranks: int, stride: int = 1) -> float:
        """Return the time of a collective of ``num_ranks`` chips that are ``stride`` apart in number.

        All groups of that kind work at once. Where a group has several chips in each of several nodes, it works in two
        levels: the sum is scattered inside each node, exchanged between nodes by all chips of a node at once (each has
        its own link and a part of the tensor), and gathered inside again. A last node that is filled in part counts as
        full.

        Args:
            collective: What is done.
            num_bytes: Of the whole tensor.
            num_ranks: In the group.
            stride: 1 for neighbours; the product of all degrees inside for an outer group of a layout.

        Raises:
            ValueError: If the group does not fit on the cluster.
        """
        if num_ranks < 1 or stride < 1 or num_ranks * stride > self.num_chips:
            raise ValueError(f"{num_ranks} ranks with stride {stride} do not fit on {self.num_chips} chips.")
        if collective == "send":
            link = self.inside if num_ranks * stride <= self.chips_per_node else self.between
            return link.seconds(num_bytes, num_ranks=min(num_ranks, 2))
        near = min(num_ranks, max(1, self.chips_per_node // stride))
        nodes = -(-num_ranks // near)
        if nodes == 1:
            return self.inside.seconds(num_bytes, collective, num_ranks=near)
        if near == 1:
            return self.between.seconds(num_bytes, collective, num_ranks=nodes)
        if collective == "broadcast":
            across = self.between.seconds(num_bytes, collective, num_ranks=nodes)
            return across + self.inside.seconds(num_bytes, collective, num_ranks=near)
        phases = 2 if collective == "all_reduce" else 1
        inside = self.inside.seconds(num_bytes, "all_gather", num_ranks=near)  # scattering the sums takes as long
        return phases * inside + self.between.seconds(num_bytes / near, collective, num_ranks=nodes)


def cluster(fabric: str, *, num_chips: int, link_efficiency: float | Sourced = LINK_EFFICIENCY) -> Cluster:
    """Return a cluster with published line rates.

    Args:
        fabric: A name in `FABRICS`.
        num_chips: How many.
        link_efficiency: Share of the line rates that large messages get, inside and between nodes alike.

    Raises:
        ValueError: If the fabric is not listed, or the efficiency is not in (0, 1].

    Example:
        >>> big = cluster("H100, 400 Gb/s", num_chips=1024)
        >>> inside, between = (big.seconds("all_reduce", 1e9, num_ranks=8, stride=s) for s in (1, 8))
        >>> round(inside * 1e3, 1), round(between * 1e3, 1)  # milliseconds: why tensor parallelism stays in a node
        (4.8, 42.8)
    """
    if fabric not in FABRICS:
        raise ValueError(f"no figures of {fabric!r} here; there are {', '.join(FABRICS)}. Others: build a Cluster.")
    share = link_efficiency.value if isinstance(link_efficiency, Sourced) else link_efficiency
    if not 0 < share <= 1:
        raise ValueError(f"link_efficiency is a share of the line rate, in (0, 1]; got {share}.")
    wires = FABRICS[fabric]
    hardware = chip_named(wires.chip)
    inside = CommunicationModel(_NVLINK_LATENCY.value, wires.inside.value * share)
    between = CommunicationModel(_NETWORK_LATENCY.value, wires.between.value * share)
    return Cluster(hardware, num_chips, min(wires.chips_per_node, num_chips), inside, between)
