"""Bytes that each rank of a layout needs: the memory planner."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.distributed.planning.layout import Layout
from course_lib.distributed.planning.model_shape import ModelShape, model_shape
from course_lib.distributed.planning.zero_formulas import MIXED, NumberBytes, zero_memory
from course_lib.nn.transformer import TransformerConfig


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Bytes of one rank, by what they are for.

    Args:
        weights: Parameters, or the rank's shard of them.
        gradients: Of these, or its shard.
        optimizer: The optimizer's state, or its shard.
        activations: What forward passes keep until their backward pass, at its most.
        transient: Whole blocks that exist for a moment: gathered weights (ZeRO 3; two blocks, as the next one is
            fetched ahead), gradients not yet scattered (ZeRO 2 and 3).
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    transient: int

    @property
    def total(self) -> int:
        """All together; a real process adds buffers, fragmentation and the libraries' own memory."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.transient


def stage_parameters(config: TransformerConfig, layout: Layout, *, num_tokens: int | None = None) -> list[int]:
    """Return the parameters that one rank of each pipeline stage computes with, before ZeRO shards them.

    A tied output layer on another stage than the embedding is a copy of it there.

    Raises:
        ValueError: If the model cannot be split like this.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=100, width=8, num_layers=4, num_heads=2, context_length=16)
        >>> stage_parameters(config, Layout()), stage_parameters(config, Layout(pp=2, num_micro_batches=2))
        ([4432], [2672, 2560])
    """
    layout.check(config)
    shape = model_shape(config, config.context_length if num_tokens is None else num_tokens)
    split_block = -(-(shape.block_parameters - shape.replicated_parameters) // layout.tp)
    block = split_block + shape.replicated_parameters
    stages = [layers * block for layers in layout.stage_layers(config.num_layers)]
    stages[0] += -(-shape.table_parameters // layout.tp) + shape.position_parameters
    tied_elsewhere = shape.table_parameters if config.tied and layout.pp > 1 else 0
    stages[-1] += -(-(shape.head_parameters + tied_elsewhere) // layout.tp) + shape.norm_parameters
    return stages


def rank_memory(
    config: TransformerConfig, layout: Layout, *, num_tokens: int | None = None, numbers: NumberBytes = MIXED
) -> RankMemory:
    """Return what the fullest rank of a layout needs.

    Pipelines follow the 1F1B schedule: the first stage holds the activations of as many micro-batches as there are
    stages, the last stage of one. Activations are counted as `course_lib.scaling.activation_bytes` counts them, with
    fused attention and without dropout: 32 bytes a token and unit of width in a GPT block in 16 bits, where Korthikanti
    et al. have 34 with dropout's masks. With sequence parallelism all of it is shared by the tensor-parallel ranks,
    gathered inputs too.

    Args:
        config: Of the model.
        layout: Where it goes.
        num_tokens: Of a sequence; the context length by default.
        numbers: Bytes of each kind of number.

    Raises:
        ValueError: If the model cannot be split like this.

    Example:
        >>> from course_lib.nn.transformer import llama
        >>> seven = llama(vocab_size=32000, width=4096, num_layers=32, num_heads=32, context_length=4096,
        ...               feed_forward_width=11008)
        >>> for zero in (0, 1, 2, 3):
        ...     use = rank_memory(seven, Layout(dp=64, zero=zero, checkpointing=True))
        ...     print(zero, [round(part / 1e9, 1) for part in (use.weights, use.gradients, use.optimizer, use.total)])
        0 [13.5, 13.5, 80.9, 109.8]
        1 [13.5, 13.5, 1.3, 30.2]
        2 [13.5, 0.2, 1.3, 17.4]
        3 [0.2, 0.2, 1.3, 4.9]

    Reference: Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models",
    https://arxiv.org/abs/1910.02054; Korthikanti et al. 2022, "Reducing activation recomputation in large transformer
    models", https://arxiv.org/abs/2205.05198
    """
    length = config.context_length if num_tokens is None else num_tokens
    shape = model_shape(config, length)
    parameters = stage_parameters(config, layout, num_tokens=length)
    layers = layout.stage_layers(config.num_layers)
    return max(
        (_of_stage(stage, parameters[stage], layers[stage], shape, layout, numbers) for stage in range(layout.pp)),
        key=lambda memory: memory.total,
    )


def _of_stage(
    stage: int, parameters: int, layers: int, shape: ModelShape, layout: Layout, numbers: NumberBytes
) -> RankMemory:
    state = zero_memory(max(1, parameters), num_ranks=layout.dp, stage=layout.zero, numbers=numbers)
    split = shape.block_parameters / layout.tp
    gathered = 2 * split * numbers.weights if layout.zero == 3 and layout.dp > 1 else 0
    unscattered = split * numbers.gradients if layout.zero >= 2 and layout.dp > 1 else 0
    kept = _kept_numbers(stage, layers, shape, layout) * layout.micro_batch_size
    return RankMemory(
        state.weights,
        state.gradients,
        state.optimizer,
        round(kept * numbers.activations),
        round(gathered + unscattered),
    )


def _kept_numbers(stage: int, layers: int, shape: ModelShape, layout: Layout) -> float:
    """Activations of one sequence of each micro-batch that the stage holds at its fullest."""
    replicated = 0 if layout.sequence_parallel else shape.replicated_numbers
    block = replicated + (shape.block_numbers - replicated) / layout.tp
    boundary = shape.boundary_numbers / (layout.tp if layout.sequence_parallel else 1)
    held = micro_batches_held(stage, layout)
    kept = held * layers * boundary + block if layout.checkpointing else held * layers * block
    if stage < layout.pp - 1:
        return kept
    twice = 0 if layout.sequence_parallel else 2 * shape.boundary_numbers  # input and output of the last norm
    return kept + twice + (shape.end_numbers - twice) / layout.tp


def micro_batches_held(stage: int, layout: Layout) -> float:
    """Return how many micro-batches' activations a stage holds at its fullest under 1F1B.

    With chunks, which take turns, it starts more of them before the first one comes back; counted in whole
    micro-batches, so a part of the chunks of one counts as a part.

    Example:
        >>> [micro_batches_held(stage, Layout(pp=4, num_micro_batches=8)) for stage in range(4)]
        [4, 3, 2, 1]
        >>> micro_batches_held(0, Layout(pp=4, num_micro_batches=8, chunks=2))
        5.5
    """
    behind = layout.pp - 1 - stage
    if layout.chunks == 1:
        return min(layout.num_micro_batches, behind + 1)
    started = 2 * behind + (layout.chunks - 1) * layout.pp + 1  # chunk by chunk, before the first backward pass
    return min(layout.num_micro_batches, started / layout.chunks)
