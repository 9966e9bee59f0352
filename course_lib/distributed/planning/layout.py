"""How a training run is laid out over chips: degrees of parallelism, micro-batches, and which rank is where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from course_lib.distributed.planning.zero_formulas import ZeroStage
from course_lib.nn.transformer import TransformerConfig


def dealt_layers(num_layers: int, num_stages: int) -> list[int]:
    """Return the layers of each pipeline stage. Where they do not divide, the last and the first get the fewer.

    Those have the output layer and the embedding besides.

    Example:
        >>> dealt_layers(6, 4)
        [1, 2, 2, 1]
    """
    fewest, left = divmod(num_layers, num_stages)
    order = [*range(1, num_stages - 1), 0, num_stages - 1] if num_stages > 1 else [0]
    longer = set(order[:left])
    return [fewest + (stage in longer) for stage in range(num_stages)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Degrees of data, tensor and pipeline parallelism, and how a batch goes through.

    Ranks are numbered tensor-parallel first, then pipeline stages, then data-parallel copies: tensor parallelism talks
    most, several times a layer, and gets the fast links inside a node; data parallelism talks least, once a step.

    Args:
        dp: Copies of the model, which share the batch.
        tp: Ranks that share each layer.
        pp: Pipeline stages, which share the layers.
        micro_batch_size: Sequences that go through at once.
        num_micro_batches: That each copy takes for a step, one after the other.
        zero: What the copies shard among themselves; 0 nothing, 1 the optimizer's state, 2 gradients besides, 3 weights
            besides.
        checkpointing: Whether each block keeps only its input, and computes the rest again going back.
        chunks: Pieces of the model that a stage holds, taking turns: with v of them the bubble is v times shorter, and
            stages talk v times as much.
        sequence_parallel: Whether tensor-parallel ranks share norms and block inputs as well, by tokens.

    Raises:
        ValueError: If a degree is not positive, there is no such ZeRO stage, or chunks have no use.

    Example:
        >>> layout = Layout(dp=6, tp=8, pp=64, num_micro_batches=512)
        >>> layout.num_chips, layout.batch_size, round(layout.bubble, 2)
        (3072, 3072, 0.11)
    """

    dp: int = 1
    tp: int = 1
    pp: int = 1
    micro_batch_size: int = 1
    num_micro_batches: int = 1
    zero: ZeroStage = 0
    checkpointing: bool = False
    chunks: int = 1
    sequence_parallel: bool = True

    def __post_init__(self) -> None:
        counts = {
            name: getattr(self, name) for name in ("dp", "tp", "pp", "micro_batch_size", "num_micro_batches", "chunks")
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.zero not in get_args(ZeroStage):
            raise ValueError(f"zero must be one of {get_args(ZeroStage)}, got {self.zero!r}.")
        if self.chunks > 1 and (self.pp == 1 or self.num_micro_batches % self.pp):
            raise ValueError(
                f"stages that take turns with {self.chunks} chunks need several stages and as many micro-batches or a "
                f"multiple; got pp={self.pp} and {self.num_micro_batches} micro-batches."
            )

    @property
    def num_chips(self) -> int:
        """All ranks."""
        return self.dp * self.tp * self.pp

    @property
    def batch_size(self) -> int:
        """Sequences of a step, over all copies."""
        return self.dp * self.micro_batch_size * self.num_micro_batches

    @property
    def bubble(self) -> float:
        """Share of the time that a stage waits while the pipeline fills and drains, if all stages are equally long."""
        idle = (self.pp - 1) / self.chunks
        return idle / (self.num_micro_batches + idle)

    def stride(self, dimension: str) -> int:
        """Return how far apart in number the ranks of a group are: ``"tp"``, ``"pp"`` or ``"dp"``."""
        return {"tp": 1, "pp": self.tp, "dp": self.tp * self.pp}[dimension]

    def groups(self, dimension: str) -> list[list[int]]:
        """Return the ranks of each group of a dimension: ``"tp"``, ``"pp"`` or ``"dp"``.

        Example:
            >>> layout = Layout(dp=2, tp=2, pp=2, num_micro_batches=2)
            >>> layout.groups("tp"), layout.groups("dp")
            ([[0, 1], [2, 3], [4, 5], [6, 7]], [[0, 4], [1, 5], [2, 6], [3, 7]])
        """
        size, stride = {"tp": self.tp, "pp": self.pp, "dp": self.dp}[dimension], self.stride(dimension)
        first = [rank for rank in range(self.num_chips) if rank // stride % size == 0]
        return [[rank + place * stride for place in range(size)] for rank in first]

    def placement(self, chips_per_node: int) -> dict[str, str]:
        """Return where the groups of each dimension talk: inside a node, between nodes, or both.

        Example:
            >>> Layout(dp=16, tp=8, pp=4, num_micro_batches=8).placement(chips_per_node=8)
            {'tp': 'inside a node', 'pp': 'between nodes', 'dp': 'between nodes'}
        """
        where = {}
        for dimension in ("tp", "pp", "dp"):
            group = self.groups(dimension)[0]
            nodes = len({rank // chips_per_node for rank in group})
            both = "inside and between nodes" if nodes < len(group) else "between nodes"
            where[dimension] = "nobody to talk to" if len(group) == 1 else "inside a node" if nodes == 1 else both
        return where

    def stage_layers(self, num_layers: int) -> list[int]:
        """Return the layers of each stage; see `dealt_layers`."""
        return dealt_layers(num_layers, self.pp)

    def check(self, config: TransformerConfig) -> None:
        """Refuse a model that cannot be split like this.

        Raises:
            ValueError: If heads or hidden units do not divide by ``tp``, or there are fewer layers than chunks.
        """
        for name, count in (
            ("attention heads", config.num_heads),
            ("heads of keys and values", config.kv_heads),
            ("hidden units", config.hidden_width),
        ):
            if count % self.tp:
                raise ValueError(f"{count} {name} cannot be shared by tp={self.tp} ranks.")
        if self.pp * self.chunks > config.num_layers:
            raise ValueError(
                f"{config.num_layers} layers are too few for pp={self.pp} stages with {self.chunks} chunks each."
            )
