"""Layouts and speeds that large runs published, and what the planner makes of them.

All rows of Megatron-LM's tables 1 and 2 are here, the two small models that the planner misses included. Confirmed are
models, degrees, chips, batches, micro-batches and chunks of table 1, by its authors' own script (examples/sc21 of
NVIDIA/Megatron-LM), and the speed of its last row, which many quote (502 petaFLOP/s on 3,072 chips, 52 % of the peak).
The other speeds and table 2 are written down from memory, and the paper could not be read again to compare them. What
speaks for them is that they agree with the aggregate speeds and the days of training beside them in the tables
(remembered likewise; the tests compare them) and with sizes, chips and batches.

Llama 3's speeds, degrees and tokens were confirmed by what others quote from the paper; copies and batches follow from
chips and tokens. Its third row, 380 TFLOP/s with sequences of 131,072 tokens split over 16 chips, is left out: a
`Layout` has no context parallelism.
"""

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
_FROM_MEMORY = "from memory, not compared again"
_TABLE_1 = Source(_MEGATRON + "table 1", "Narayanan et al.", "2021", _MEGATRON_URL, _FROM_MEMORY)
_TABLE_2 = Source(_MEGATRON + "table 2", "Narayanan et al.", "2021", _MEGATRON_URL, _FROM_MEMORY)
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
    width: int,
    num_layers: int,
    num_heads: int,
    degrees: tuple[int, int, int],
    batch: int,
    size: int,
    chunks: int,
    speed: float,
    note: str,
) -> PublishedLayout:
    """A row of table 1."""
    dp, tp, pp = degrees
    config = gpt(vocab_size=51200, width=width, num_layers=num_layers, num_heads=num_heads, context_length=2048)
    layout = Layout(
        dp=dp,
        tp=tp,
        pp=pp,
        micro_batch_size=size,
        num_micro_batches=batch // dp // size,
        checkpointing=True,
        chunks=chunks,
        sequence_parallel=False,
    )
    billions = num_parameters(config).total / 1e9
    return PublishedLayout(
        f"GPT {billions:.{0 if billions >= 10 else 1}f}B on {layout.num_chips:,} A100",
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
_GPT_530B = gpt(vocab_size=51200, width=20480, num_layers=105, num_heads=128, context_length=2048)
_LLAMA_405B = llama(
    vocab_size=128256,
    width=16384,
    num_layers=126,
    num_heads=128,
    num_kv_heads=8,
    feed_forward_width=53248,
    context_length=8192,
)
_OPEN_2021 = "micro-batches and chunks, which table 1 does not say, are those of the authors' script; "
_LATER_MEANS = (
    _OPEN_2021
    + "the planner may shard the optimizer's state (ZeRO 1), keep activations (fused attention, of 2022, needs no "
    "T x T weights) and give a stage up to 4 chunks; the paper computes all activations again and shards nothing"
)
_SMALL = (
    _OPEN_2021
    + "one efficiency for all kernels is too much for matrices as narrow as these: the planner is 19 and 30 % too fast"
)


def _table_2(
    config: TransformerConfig, dp: int, pp: int, size: int, batch: int, speed: float, note: str
) -> PublishedLayout:
    """A row of table 2: 8-way tensor parallelism in a pipeline, or (one stage) ZeRO-3 alone."""
    zero, tp = pp == 1, 1 if pp == 1 else 8
    layout = Layout(
        dp=dp,
        tp=tp,
        pp=pp,
        micro_batch_size=size,
        num_micro_batches=batch // dp // size,
        zero=3 if zero else 0,
        checkpointing=True,
        sequence_parallel=False,
    )
    way = "ZeRO-3 alone" if zero else "tensor and pipeline"
    name = f"{'GPT-3 175B' if config is _GPT_3 else 'GPT 530B'} on {dp * tp * pp:,} A100, {way}"
    numbers = MIXED if zero else MIXED_FLOAT32_GRADIENTS
    return PublishedLayout(name, config, layout, "A100, InfiniBand", numbers, speed, True, _TABLE_2, note)


_TABLE_2_NOTE = "model-parallel sizes 96 and 280 read as 8 x 12 and 8 x 35; one chunk a stage assumed"
_ZERO_NOTE = (
    "bf16 gradients assumed. Here the planner fails on many nodes: the measurement is slower than arithmetic and "
    "communication one after the other. Its ZeRO-3 is a ceiling that the software of 2021 was far from. "
    "(For 530 billion on 640 chips it counts 86 GB a chip, 6 too many: two whole blocks and one of gradients)"
)


def _llama(dp: int, batches: int, speed: float, note: str) -> PublishedLayout:
    layout = Layout(dp=dp, tp=8, pp=16, num_micro_batches=batches, zero=1, chunks=7)
    name = f"Llama 3 405B on {dp * 128:,} H100"
    numbers = MIXED_FLOAT32_GRADIENTS
    return PublishedLayout(name, _LLAMA_405B, layout, "H100, 400 Gb/s", numbers, speed, False, _LLAMA_3, note)


_LLAMA_NOTE = (
    "micro-batches of 1 assumed, and 7 chunks a stage (with one layer a chunk there would be 8, the very first and the "
    "very last without a layer, which a Layout cannot say); gradients are sharded there too, here reduced once a step "
    "as with ZeRO 1. The planner takes the same degrees, but counts more memory than a chip has unless activations are "
    "computed again: Meta frees tensors that it counts as kept"
)

PUBLISHED_LAYOUTS: tuple[PublishedLayout, ...] = (
    _megatron(2304, 24, 24, (32, 1, 1), 512, 16, 1, 137e12, _SMALL),
    _megatron(3072, 30, 32, (32, 2, 1), 512, 16, 1, 138e12, _SMALL),
    _megatron(4096, 36, 32, (32, 4, 1), 512, 16, 1, 142e12, _LATER_MEANS),
    _megatron(6144, 40, 48, (32, 8, 1), 1024, 8, 1, 135e12, _LATER_MEANS),
    _megatron(8192, 48, 64, (32, 8, 2), 1536, 4, 1, 138e12, _LATER_MEANS),
    _megatron(10240, 60, 80, (32, 8, 4), 1792, 2, 3, 140e12, _LATER_MEANS),
    _megatron(12288, 80, 96, (24, 8, 8), 2304, 2, 2, 148e12, _LATER_MEANS),
    _megatron(16384, 96, 128, (15, 8, 16), 2160, 1, 2, 155e12, _LATER_MEANS),
    _megatron(20480, 105, 128, (9, 8, 35), 2520, 1, 3, 163e12, _LATER_MEANS),
    _megatron(25600, 128, 160, (6, 8, 64), 3072, 1, 1, 163e12, _LATER_MEANS),
    _table_2(_GPT_3, 4, 12, 1, 1536, 153e12, _TABLE_2_NOTE),
    _table_2(_GPT_3, 8, 12, 1, 1536, 149e12, _TABLE_2_NOTE),
    _table_2(_GPT_3, 16, 12, 1, 1536, 141e12, _TABLE_2_NOTE),
    _table_2(_GPT_530B, 2, 35, 1, 2240, 171e12, _TABLE_2_NOTE),
    _table_2(_GPT_530B, 4, 35, 1, 2240, 167e12, _TABLE_2_NOTE),
    _table_2(_GPT_530B, 8, 35, 1, 2240, 159e12, _TABLE_2_NOTE),
    _table_2(_GPT_3, 384, 1, 4, 1536, 144e12, _ZERO_NOTE),
    _table_2(_GPT_3, 768, 1, 2, 1536, 88e12, _ZERO_NOTE),
    _table_2(_GPT_3, 1536, 1, 1, 1536, 44e12, _ZERO_NOTE),
    _table_2(_GPT_530B, 640, 1, 4, 2560, 138e12, _ZERO_NOTE),
    _table_2(_GPT_530B, 1120, 1, 2, 2240, 98e12, _ZERO_NOTE),
    _table_2(_GPT_530B, 2240, 1, 1, 2240, 48e12, _ZERO_NOTE),
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
        choose: Whether to search for a layout as well; a quarter of a minute or more.

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
