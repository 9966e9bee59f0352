"""Choosing a layout: every combination of degrees that fits the chips and their memory, the fastest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from course_lib.distributed.planning.clusters import Cluster
from course_lib.distributed.planning.layout import Layout
from course_lib.distributed.planning.rank_memory import RankMemory, rank_memory
from course_lib.distributed.planning.step_time import KERNEL_EFFICIENCY, StepTime, predict_step
from course_lib.distributed.planning.zero_formulas import MIXED, NumberBytes, ZeroStage
from course_lib.nn.transformer import TransformerConfig

MEMORY_SHARE = 0.9  # of a chip's memory: the rest is for buffers, fragmentation and the libraries


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """A layout with what it needs and how fast it should be. Printing it shows both.

    Args:
        layout: Where everything goes.
        memory: Of the fullest rank.
        time: Of a step.
    """

    layout: Layout
    memory: RankMemory
    time: StepTime

    def lines(self) -> list[tuple[str, str]]:
        """Return what the plan says as rows of (what, how much)."""
        layout, time, memory = self.layout, self.time, self.memory
        parts = {
            "arithmetic": time.compute,
            "tensor-parallel sums": time.tensor,
            "messages between stages": time.send,
            "bubble": time.bubble,
            "data-parallel, not hidden": time.data,
            "optimizer": time.optimizer,
        }
        return [
            ("degrees", f"data {layout.dp} x tensor {layout.tp} x pipeline {layout.pp} = {layout.num_chips:,} chips"),
            (
                "micro-batches",
                f"{layout.num_micro_batches} of {layout.micro_batch_size}, {layout.chunks} chunks a stage",
            ),
            ("ZeRO stage", str(layout.zero)),
            ("activations", "computed again" if layout.checkpointing else "kept"),
            ("memory", f"{memory.total / 1e9:.1f} GB a chip, {memory.activations / 1e9:.1f} of them activations"),
            ("step", f"{time.total:.2f} s, MFU {time.mfu:.0%}"),
            *((name, f"{seconds / time.total:.1%}") for name, seconds in parts.items()),
        ]

    def __str__(self) -> str:
        width = max(len(what) for what, _ in self.lines())
        return "\n".join(f"{what:<{width}}  {much}" for what, much in self.lines())

    __repr__ = __str__


def rank_layouts(
    config: TransformerConfig,
    cluster: Cluster,
    *,
    batch_size: int,
    num_tokens: int | None = None,
    numbers: NumberBytes = MIXED,
    kernel_efficiency: float = KERNEL_EFFICIENCY,
    overlap: float = 0.0,
    memory_share: float = MEMORY_SHARE,
    zero: Sequence[ZeroStage] = (0, 1, 2, 3),
    micro_batch_sizes: Sequence[int] = (1, 2, 4, 8),
    chunks: Sequence[int] = (1, 2, 4),
    limit: int | None = None,
) -> list[LayoutPlan]:
    """Return the layouts that fit, the fastest first; of equally fast ones the simplest.

    Tensor parallelism stays within a node. Among the rest all of dp x tp x pp = chips are tried.

    Args:
        config: Of the model.
        cluster: All of it is used.
        batch_size: Sequences of a step, over all copies.
        num_tokens: Of a sequence; the context length by default.
        numbers: Bytes of each kind of number.
        kernel_efficiency: As in `predict_step`.
        overlap: As in `predict_step`.
        memory_share: Of a chip's memory that may be planned with.
        zero: Stages to try.
        micro_batch_sizes: To try.
        chunks: To try.
        limit: Return at most so many.

    Raises:
        ValueError: If nothing fits, with what the smallest layout would need.

    Example:
        >>> from course_lib.distributed.planning.clusters import cluster
        >>> from course_lib.nn.transformer import gpt
        >>> small = gpt(vocab_size=50304, width=768, num_layers=12, num_heads=12, context_length=1024)
        >>> best = rank_layouts(small, cluster("A100, InfiniBand", num_chips=16), batch_size=512)[0].layout
        >>> best.dp, best.tp, best.pp  # it fits, so nothing but data parallelism
        (16, 1, 1)
    """
    if not 0 < memory_share <= 1:
        raise ValueError(f"memory_share lies in (0, 1], got {memory_share}.")
    room = memory_share * cluster.chip.memory_bytes
    plans, least = [], None
    for layout in _candidates(config, cluster, batch_size, zero, micro_batch_sizes, chunks):
        memory = rank_memory(config, layout, num_tokens=num_tokens, numbers=numbers)
        if memory.total > room:
            least = memory.total if least is None else min(least, memory.total)
            continue
        time = predict_step(
            config,
            layout,
            cluster,
            num_tokens=num_tokens,
            numbers=numbers,
            kernel_efficiency=kernel_efficiency,
            overlap=overlap,
        )
        plans.append(LayoutPlan(layout, memory, time))
    if not plans:
        need = "no split of model and batch is possible" if least is None else f"at least {least / 1e9:.1f} GB a chip"
        raise ValueError(
            f"no layout fits on {cluster.num_chips} x {cluster.chip.name} with {room / 1e9:.1f} GB to plan with: "
            f"{need}. Take more chips, or another batch size."
        )
    return sorted(plans, key=_order)[:limit]


def choose_layout(config: TransformerConfig, cluster: Cluster, *, batch_size: int, **options: object) -> LayoutPlan:
    """Return the fastest layout that fits.

    Args:
        config: Of the model.
        cluster: All of it is used.
        batch_size: Sequences of a step, over all copies.
        options: Any other argument of `rank_layouts`.

    Raises:
        ValueError: As `rank_layouts`.

    Example:
        >>> from course_lib.distributed.planning.clusters import cluster
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=51200, width=12288, num_layers=96, num_heads=96, context_length=2048)
        >>> best = choose_layout(config, cluster("A100, InfiniBand", num_chips=1024), batch_size=1536).layout
        >>> best.dp, best.tp, best.pp, best.zero
        (32, 4, 8, 1)
    """
    return rank_layouts(config, cluster, batch_size=batch_size, **options, limit=1)[0]  # type: ignore[arg-type]


def _order(plan: LayoutPlan) -> tuple[float, ...]:
    layout = plan.layout
    return (round(plan.time.total, 9), layout.zero, layout.checkpointing, layout.pp, layout.tp, layout.chunks)


def _candidates(
    config: TransformerConfig,
    cluster: Cluster,
    batch_size: int,
    zero: Sequence[ZeroStage],
    micro_batch_sizes: Sequence[int],
    chunks: Sequence[int],
) -> Iterator[Layout]:
    chips = cluster.num_chips
    for tp in _divisors(min(chips, cluster.chips_per_node)):
        for pp in _divisors(chips // tp) if chips % tp == 0 else ():
            dp = chips // tp // pp
            if pp > config.num_layers or batch_size % dp:
                continue
            for size, stage, again, pieces in product(micro_batch_sizes, zero, (False, True), chunks):
                if (batch_size // dp) % size or (stage > 0 and dp == 1):
                    continue
                rounds = batch_size // dp // size
                if pieces > 1 and (pp == 1 or rounds % pp or pp * pieces > config.num_layers):
                    continue
                layout = Layout(
                    dp=dp,
                    tp=tp,
                    pp=pp,
                    micro_batch_size=size,
                    num_micro_batches=rounds,
                    zero=stage,
                    checkpointing=again,
                    chunks=pieces,
                )
                try:
                    layout.check(config)
                except ValueError:
                    continue
                yield layout


def _divisors(number: int) -> list[int]:
    return [count for count in range(1, number + 1) if number % count == 0]
