"""A transformer taken apart for planning: parameters, arithmetic and activations of one block, and of the ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from course_lib.nn.transformer import TransformerConfig
from course_lib.scaling import activation_bytes, forward_flops, num_parameters


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What planning needs to know of a model, each as a number of one sequence.

    Args:
        block_parameters: Of one block.
        replicated_parameters: Those of them that every tensor-parallel rank has: norms, biases added after a sum.
        table_parameters: Of the token table.
        position_parameters: Of learned positions.
        head_parameters: Of an output layer of its own; 0 if it is the table.
        norm_parameters: Of the last norm.
        block_flops: Of one block going forward.
        head_flops: Of the output layer going forward.
        block_numbers: That one block keeps for the backward pass.
        replicated_numbers: Those of them that every tensor-parallel rank keeps without sequence parallelism.
        end_numbers: That the last norm and the output layer keep.
        boundary_numbers: That go from one block to the next.
    """

    block_parameters: int
    replicated_parameters: int
    table_parameters: int
    position_parameters: int
    head_parameters: int
    norm_parameters: int
    block_flops: int
    head_flops: int
    block_numbers: int
    replicated_numbers: int
    end_numbers: int
    boundary_numbers: int


@lru_cache(maxsize=64)
def model_shape(config: TransformerConfig, num_tokens: int) -> ModelShape:
    """Take a model apart by counting it with one block and with two; RMS norms as accelerators compute them.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> shape = model_shape(gpt(vocab_size=100, width=8, num_layers=5, num_heads=2, context_length=16), 16)
        >>> shape.block_parameters, shape.table_parameters, shape.boundary_numbers
        (872, 800, 128)
    """
    one, two = replace(config, num_layers=1), replace(config, num_layers=2)
    parameters = [num_parameters(each) for each in (one, two)]
    flops = [forward_flops(each, num_tokens=num_tokens) for each in (one, two)]
    numbers = [activation_bytes(each, batch_size=1, num_tokens=num_tokens, bytes_per_number=1) for each in (one, two)]
    block_parameters = parameters[1].total - parameters[0].total
    block_flops, block_numbers = flops[1] - flops[0], numbers[1] - numbers[0]
    end_numbers = numbers[0] - block_numbers
    if config.norm == "rms":  # counted there as the CPU computes it; a fused kernel keeps no normalised input besides
        block_numbers -= 2 * num_tokens * config.width
        end_numbers -= num_tokens * config.width
    norm = parameters[0].non_embedding - block_parameters
    table = config.vocab_size * config.width
    biases = 2 * config.width if config.bias else 0
    qk_norms = 2 * config.head_width if config.qk_norm else 0
    return ModelShape(
        block_parameters=block_parameters,
        replicated_parameters=2 * norm + biases + qk_norms,
        table_parameters=table,
        position_parameters=config.context_length * config.width if config.positions == "learned" else 0,
        head_parameters=0 if config.tied else table,
        norm_parameters=norm,
        block_flops=block_flops,
        head_flops=flops[0] - block_flops,
        block_numbers=block_numbers,
        replicated_numbers=4 * num_tokens * config.width,  # inputs and outputs of both norms
        end_numbers=end_numbers,
        boundary_numbers=num_tokens * config.width,
    )
