"""Layouts and speeds that large runs published, and what the planner makes of them."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.distributed.planning.choose import LayoutPlan, choose_layout
from course_lib.distributed.planning.clusters import FABRICS, READ_ON, cluster
from course_lib.distributed.planning.layout import Layout
from course_lib.distributed.planning.model_shape import model_shape
from course_lib.distributed.planning.rank_memory import rank_memory
from course_lib.distributed.planning.step_time import KERNEL_EFFICIENCY, predict_step
from course_lib.distributed.planning.zero_formulas import MIXED, MIXED_FLOAT32_GRADIENTS, NumberBytes
from course_lib.nn.transformer import TransformerConfig, gpt, llama
from course_lib.scaling import Source, num_parameters
from course_lib.scaling.chips import chip

_MEGATRON = "Efficient large-scale language model training on GPU clusters using Megatron-LM, "
_MEGATRON_URL = "https://arxiv.org/abs/2104.04473"
_TABLE_1 = Source(_MEGATRON + "table 1", "Narayanan et al.", "2021", _MEGATRON_URL, READ_ON)
_TABLE_2 = Source(_MEGATRON + "table 2", "Narayanan et al.", "2021", _MEGATRON_URL, READ_ON)
_LLAMA_3 = Source(
    "The Llama 3 herd of models, table 4", "Meta", "July 2024", "https://arxiv.org/abs/2407.21783", READ_ON
)


@dataclass(frozen=True, slots=True)
class PublishedLayout:
    """One published run: its model, its layout, and how fast it went.

    Args:
        name: Model and number of chips.
        config: Of the model.
        layout: As published; what the paper leaves open is in the note.
        fabric: The cluster, as in `FABRICS`.
        numbers: Bytes of each kind of number.
        flops_per_second: That each chip was reported to do.
        counts_recomputation: Whether that figure counts activations that are computed again.
        source: The paper.
        note: What had to be assumed, and where the planner's own choice differs and why.
    """

    name: str
    config: TransformerConfig
    layout: Layout
    fabric: str
    numbers: NumberBytes
    flops_per_second: float
    counts_recomputation: bool
    source: Source
    note: str

    @property
    def counted_flops(self) -> float:
        """FLOP of a step, counted as the paper counts them."""
        shape = model_shape(self.config, self.config.context_length)
        passes = 4 if self.counts_recomputation and self.layout.checkpointing else 3
        sequence = passes * self.config.num_layers * shape.block_flops + 3 * shape.head_flops
        return self.layout.batch_size * sequence

    @property
    def step_seconds(self) -> float:
        """Time of a step that the reported speed comes to."""
        return self.counted_flops / self.flops_per_second / self.layout.num_chips

    @property
    def mfu(self) -> float:
        """Model FLOP utilisation, without what is computed again."""
        shape = model_shape(self.config, self.config.context_length)
        once = self.layout.batch_size * 3 * (self.config.num_layers * shape.block_flops + shape.head_flops)
        peak = chip(FABRICS[self.fabric].chip).peak_flops_per_second
        return once / self.step_seconds / self.layout.num_chips / peak


def _megatron(
    width: int, num_layers: int, num_heads: int, tp: int, pp: int, chips: int, batch: int, speed: float, note: str
) -> PublishedLayout:
    dp = chips // tp // pp
    config = gpt(vocab_size=51200, width=width, num_layers=num_layers, num_heads=num_heads, context_length=2048)
    layout = Layout(dp=dp, tp=tp, pp=pp, num_micro_batches=batch // dp, checkpointing=True, sequence_parallel=False)
    billions = round(num_parameters(config).total / 1e9)
    return PublishedLayout(
        f"GPT {billions}B on {chips:,} A100",
        config,
        layout,
        "A100, InfiniBand",
        MIXED_FLOAT32_GRADIENTS,
        speed,
        True,
        _TABLE_1,
        note,
    )


_GPT_3 = gpt(vocab_size=51200, width=12288, num_layers=96, num_heads=96, context_length=2048)
_LLAMA_405B = llama(
    vocab_size=128256,
    width=16384,
    num_layers=126,
    num_heads=128,
    num_kv_heads=8,
    feed_forward_width=53248,
    context_length=8192,
)
_OPEN_2021 = "micro-batches of 1 and one chunk a stage assumed, as table 1 does not say; "
_LATER_MEANS = (
    _OPEN_2021
    + "the planner may shard the optimizer's state (ZeRO 1), keep activations (fused attention, of 2022, needs no "
    "T x T weights) and give a stage up to 4 chunks; the paper computes all activations again and shards nothing"
)


def _gpt_3(dp: int, tp: int, pp: int, size: int, zero: int, speed: float, note: str) -> PublishedLayout:
    layout = Layout(
        dp=dp,
        tp=tp,
        pp=pp,
        micro_batch_size=size,
        num_micro_batches=1536 // dp // size,
        zero=3 if zero else 0,
        checkpointing=True,
        sequence_parallel=False,
    )
    way = "ZeRO-3 alone" if zero else "tensor and pipeline"
    name = f"GPT-3 175B on {dp * tp * pp:,} A100, {way}"
    numbers = MIXED if zero else MIXED_FLOAT32_GRADIENTS
    return PublishedLayout(name, _GPT_3, layout, "A100, InfiniBand", numbers, speed, True, _TABLE_2, note)


_TABLE_2_NOTE = "model-parallel size 96 read as 8 x 12; one chunk a stage assumed"
_ZERO_NOTE = (
    "bf16 gradients assumed. Here the planner fails on many nodes: the measurement is slower than arithmetic and "
    "communication one after the other. Its ZeRO-3 is a ceiling that the software of 2021 was far from"
)


def _llama(dp: int, batches: int, speed: float, note: str) -> PublishedLayout:
    layout = Layout(dp=dp, tp=8, pp=16, num_micro_batches=batches, zero=1, chunks=7)
    name = f"Llama 3 405B on {dp * 128:,} H100"
    numbers = MIXED_FLOAT32_GRADIENTS
    return PublishedLayout(name, _LLAMA_405B, layout, "H100, 400 Gb/s", numbers, speed, False, _LLAMA_3, note)


_LLAMA_NOTE = (
    "micro-batches of 1 assumed, and 7 chunks a stage (the paper's first chunk has nothing but the embedding when one "
    "layer is taken from it, so a chunk is a layer); gradients are sharded there too, here reduced once a step as with "
    "ZeRO 1. The planner takes the same degrees, but counts more memory than a chip has unless activations are "
    "computed again: Meta frees tensors that it counts as kept"
)

PUBLISHED_LAYOUTS: tuple[PublishedLayout, ...] = (
    _megatron(6144, 40, 48, 8, 1, 256, 1024, 135e12, _LATER_MEANS),
    _megatron(8192, 48, 64, 8, 2, 512, 1536, 138e12, _LATER_MEANS),
    _megatron(10240, 60, 80, 8, 4, 1024, 1792, 140e12, _LATER_MEANS),
    _megatron(12288, 80, 96, 8, 8, 1536, 2304, 148e12, _LATER_MEANS),
    _megatron(16384, 96, 128, 8, 16, 1920, 2160, 155e12, _LATER_MEANS),
    _megatron(20480, 105, 128, 8, 35, 2520, 2520, 163e12, _LATER_MEANS),
    _megatron(25600, 128, 160, 8, 64, 3072, 3072, 163e12, _LATER_MEANS),
    _gpt_3(4, 8, 12, 1, 0, 153e12, _TABLE_2_NOTE),
    _gpt_3(16, 8, 12, 1, 0, 141e12, _TABLE_2_NOTE),
    _gpt_3(384, 1, 1, 4, 3, 144e12, _ZERO_NOTE),
    _gpt_3(1536, 1, 1, 1, 3, 44e12, _ZERO_NOTE),
    _llama(64, 32, 430e12, _LLAMA_NOTE),
    _llama(128, 16, 400e12, _LLAMA_NOTE),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published run beside the planner.

    Args:
        published: The run.
        predicted_flops_per_second: Of a chip, for the published layout, counted as the paper counts.
        predicted_mfu: Likewise.
        memory_bytes: That the planner counts for the published layout's fullest rank.
        chosen: What the planner would take itself, or None if it was not asked.
    """

    published: PublishedLayout
    predicted_flops_per_second: float
    predicted_mfu: float
    memory_bytes: int
    chosen: LayoutPlan | None

    @property
    def ratio(self) -> float:
        """Predicted speed over the published one."""
        return self.predicted_flops_per_second / self.published.flops_per_second


def compare_published(
    *, kernel_efficiency: float = KERNEL_EFFICIENCY, overlap: float = 0.0, choose: bool = False
) -> list[Comparison]:
    """Return each published run with the planner's prediction for its layout, and with the layout it would choose.

    Args:
        kernel_efficiency: As in `predict_step`.
        overlap: As in `predict_step`.
        choose: Whether to search for a layout as well; some seconds.

    Example:
        >>> for row in compare_published()[-2:]:
        ...     published, predicted = row.published.flops_per_second, row.predicted_flops_per_second
        ...     print(f"{row.published.name}: {published / 1e12:.0f}, predicted {predicted / 1e12:.0f} TFLOP/s a chip")
        Llama 3 405B on 8,192 H100: 430, predicted 445 TFLOP/s a chip
        Llama 3 405B on 16,384 H100: 400, predicted 404 TFLOP/s a chip
    """
    rows = []
    for run in PUBLISHED_LAYOUTS:
        machines = cluster(run.fabric, num_chips=run.layout.num_chips)
        time = predict_step(
            run.config,
            run.layout,
            machines,
            numbers=run.numbers,
            kernel_efficiency=kernel_efficiency,
            overlap=overlap,
        )
        chosen = None
        if choose:
            chosen = choose_layout(
                run.config,
                machines,
                batch_size=run.layout.batch_size,
                numbers=run.numbers,
                kernel_efficiency=kernel_efficiency,
                overlap=overlap,
            )
        speed = run.counted_flops / time.total / run.layout.num_chips
        memory = rank_memory(run.config, run.layout, numbers=run.numbers).total
        rows.append(Comparison(run, speed, time.mfu, memory, chosen))
    return rows
