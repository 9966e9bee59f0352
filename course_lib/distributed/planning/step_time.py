"""Time of a step of a layout on a cluster, part by part, and the share of the chips' peak that it makes use of."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.distributed.planning.clusters import Cluster
from course_lib.distributed.planning.efficiency import BACKWARD_SHARE
from course_lib.distributed.planning.layout import Layout
from course_lib.distributed.planning.model_shape import model_shape
from course_lib.distributed.planning.rank_memory import rank_memory, stage_parameters
from course_lib.distributed.planning.zero_formulas import MIXED, NumberBytes, zero_traffic
from course_lib.nn.transformer import TransformerConfig
from course_lib.scaling import flops_per_token, mfu

KERNEL_EFFICIENCY = 0.6  # of the peak, in a micro-batch: set by eye on the large models of PUBLISHED_LAYOUTS


@dataclass(frozen=True, slots=True)
class RankTraffic:
    """Bytes that the busiest rank sends in a step, by why it sends them.

    Args:
        tensor: Sums of partial results inside each layer.
        pipeline: Activations and their gradients between stages.
        data: Gradients, and weights where ZeRO shards them.
    """

    tensor: float
    pipeline: float
    data: float


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step, by what they are spent on; they add up to the step.

    Args:
        compute: Arithmetic of the slowest stage, activations computed again included.
        tensor: Tensor-parallel sums, which nothing hides.
        send: Messages between stages.
        bubble: Waiting while the pipeline fills and drains, stages that have less to do than the slowest included.
        data: What sticks out of the data-parallel communication.
        optimizer: Reading and writing the state for the update.
        mfu: Share of the chips' peak that goes into the model's own arithmetic.
    """

    compute: float
    tensor: float
    send: float
    bubble: float
    data: float
    optimizer: float
    mfu: float

    @property
    def total(self) -> float:
        """Seconds of a step."""
        return self.compute + self.tensor + self.send + self.bubble + self.data + self.optimizer


def rank_traffic(
    config: TransformerConfig, layout: Layout, *, num_tokens: int | None = None, numbers: NumberBytes = MIXED
) -> RankTraffic:
    """Return the bytes that the busiest rank sends in a step.

    Tensor parallelism: two sums a block going forward and two going back, each an all-reduce of the block's input (or,
    with sequence parallelism, a gather and a scatter, which move as much), and two more where the forward pass is
    repeated. Left out are the sums at the embedding and at the output layer, one each, that of a tied table's gradient
    between the first stage and the last, and, with sequence parallelism, two more gathers a block going back, by which
    ranks get away with keeping only their share of gathered inputs (as `rank_memory` counts them): they run beside
    matrix products.

    Pipeline: a stage in the middle sends activations on and gradients back, for each chunk; of two stages alone, each
    is at one end of the model, where there is nobody to send to.

    Raises:
        ValueError: If the model cannot be split like this.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=51200, width=12288, num_layers=96, num_heads=96, context_length=2048)
        >>> sent = rank_traffic(config, Layout(dp=16, tp=8, pp=8, num_micro_batches=96, checkpointing=True))
        >>> [round(part / 1e9) for part in (sent.tensor, sent.pipeline, sent.data)]
        [609, 1, 11]

    Reference: Narayanan et al. 2021, section 3.2; Korthikanti et al. 2022, "Reducing activation recomputation in large
    transformer models", section 4.2.2, https://arxiv.org/abs/2205.05198
    """
    length = config.context_length if num_tokens is None else num_tokens
    shape = model_shape(config, length)
    boundary = shape.boundary_numbers * layout.micro_batch_size * numbers.activations
    sums = _sums_of_block(layout) * max(layout.stage_layers(config.num_layers)) * layout.num_micro_batches
    tensor = sums * 2 * (layout.tp - 1) / layout.tp * boundary
    hops = {1: 0, 2: 2 * layout.chunks - 1}.get(layout.pp, 2 * layout.chunks) * layout.num_micro_batches
    data = zero_traffic(
        max(stage_parameters(config, layout, num_tokens=length)),
        num_ranks=layout.dp,
        stage=layout.zero,
        numbers=numbers,
        num_micro_batches=layout.num_micro_batches,
    )
    return RankTraffic(tensor, hops * boundary / layout.tp, data)


def _sums_of_block(layout: Layout) -> int:
    return 0 if layout.tp == 1 else 6 if layout.checkpointing else 4


def predict_step(
    config: TransformerConfig,
    layout: Layout,
    cluster: Cluster,
    *,
    num_tokens: int | None = None,
    numbers: NumberBytes = MIXED,
    kernel_efficiency: float = KERNEL_EFFICIENCY,
    overlap: float = 0.0,
) -> StepTime:
    """Predict the time of a step.

    A micro-batch takes a stage its arithmetic (at ``kernel_efficiency`` of the peak), its tensor-parallel sums and its
    messages. The slowest stage works without a break through all micro-batches; the others' first and last one add the
    bubble. Data-parallel communication is added, or, with ``overlap``, hides under the backward pass of the last
    micro-batch (ZeRO 0 and 1) or of each one (ZeRO 2 and 3), and what is gathered under the forward pass.

    What it leaves out: kernels that get slower when tensor parallelism makes their matrices narrow, congestion,
    stragglers, loading data, checkpoints and failures. So it is a ceiling, good for comparing layouts.

    Args:
        config: Of the model.
        layout: Where it goes.
        cluster: Of exactly as many chips.
        num_tokens: Of a sequence; the context length by default.
        numbers: Bytes of each kind of number.
        kernel_efficiency: Share of the peak that the kernels reach by themselves.
        overlap: Share of that arithmetic under which data-parallel communication can hide: 1 is what software aims at,
            with 0 published runs are predicted better.

    Raises:
        ValueError: If the model or the cluster does not fit the layout, or a share is not in its range.

    Example:
        >>> from course_lib.distributed.planning.clusters import cluster
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=51200, width=12288, num_layers=96, num_heads=96, context_length=2048)
        >>> layout = Layout(dp=16, tp=8, pp=8, num_micro_batches=96, checkpointing=True)
        >>> time = predict_step(config, layout, cluster("A100, InfiniBand", num_chips=1024))
        >>> f"{time.total:.1f} s, bubble {time.bubble / time.total:.0%}, MFU {time.mfu:.0%}"
        '29.3 s, bubble 7%, MFU 36%'

    Reference: Narayanan et al. 2021, "Efficient large-scale language model training on GPU clusters using Megatron-LM",
    sections 2 and 3, https://arxiv.org/abs/2104.04473
    """
    if layout.num_chips != cluster.num_chips:
        raise ValueError(f"the layout has {layout.num_chips} ranks, the cluster {cluster.num_chips} chips.")
    if not 0 < kernel_efficiency <= 1 or not 0 <= overlap <= 1:
        raise ValueError(
            f"kernel_efficiency lies in (0, 1] and overlap in [0, 1]; got {kernel_efficiency} and {overlap}."
        )
    length = config.context_length if num_tokens is None else num_tokens
    shape = model_shape(config, length)
    layout.check(config)
    rate = cluster.chip.peak_flops_per_second * kernel_efficiency * layout.tp / layout.micro_batch_size
    passes = 4 if layout.checkpointing else 3
    layers = layout.stage_layers(config.num_layers)
    compute = [count * passes * shape.block_flops / rate for count in layers]
    compute[-1] += 3 * shape.head_flops / rate
    boundary = shape.boundary_numbers * layout.micro_batch_size * numbers.activations
    one_sum = cluster.seconds("all_reduce", boundary, num_ranks=layout.tp, stride=layout.stride("tp"))
    tensor = [count * _sums_of_block(layout) * one_sum for count in layers]
    hop = 0.0
    if layout.pp > 1:
        hop = cluster.seconds("send", boundary / layout.tp, num_ranks=layout.pp, stride=layout.stride("pp"))
    send = 2 * layout.chunks * hop  # forward and back
    busy = [one + other + send for one, other in zip(compute, tensor, strict=True)]
    slowest = max(range(layout.pp), key=lambda stage: busy[stage])
    rounds = layout.num_micro_batches
    parameters = max(stage_parameters(config, layout, num_tokens=length))
    state = rank_memory(config, layout, num_tokens=length, numbers=numbers)
    parts = {
        "compute": rounds * compute[slowest],
        "tensor": rounds * tensor[slowest],
        "send": rounds * send,
        "bubble": (sum(busy) - busy[slowest]) / layout.chunks,
        "data": _exposed_data(layout, cluster, parameters, max(layers), numbers, compute[slowest] * overlap),
        "optimizer": 2 * (state.weights + state.optimizer) / cluster.chip.memory_bytes_per_second,
    }
    used = mfu(
        flops_per_token=flops_per_token(config, num_tokens=length),
        tokens_per_second=layout.batch_size * length / sum(parts.values()),
        peak_flops_per_second=cluster.chip.peak_flops_per_second,
        num_chips=layout.num_chips,
    )
    return StepTime(**parts, mfu=used)


def _exposed_data(
    layout: Layout, cluster: Cluster, parameters: int, layers: int, numbers: NumberBytes, hiding_seconds: float
) -> float:
    """Seconds of data-parallel communication that stick out; ``hiding_seconds``: arithmetic of one micro-batch.

    It goes layer by layer, so each layer pays the latency of a collective.
    """
    if layout.dp == 1:
        return 0.0
    group = {"num_ranks": layout.dp, "stride": layout.stride("dp")}
    scatter = layers * cluster.seconds("reduce_scatter", parameters / layers * numbers.gradients, **group)
    gather = layers * cluster.seconds("all_gather", parameters / layers * numbers.weights, **group)
    under_forward, under_backward = (1 - BACKWARD_SHARE) * hiding_seconds, BACKWARD_SHARE * hiding_seconds
    if layout.zero == 0:
        return max(0.0, 2 * scatter - under_backward)  # gathering the sums takes as long as scattering them
    if layout.zero == 3:
        once = max(0.0, gather - under_forward) + max(0.0, gather + scatter - under_backward)
        return layout.num_micro_batches * once
    times = layout.num_micro_batches if layout.zero == 2 else 1
    return times * max(0.0, scatter - under_backward) + max(0.0, gather - under_forward)
