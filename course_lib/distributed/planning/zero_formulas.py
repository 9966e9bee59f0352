"""The ZeRO table: bytes each rank keeps and sends when state is sharded, in stages, over data-parallel ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from course_lib.scaling import MemoryUse

ZeroStage = Literal[0, 1, 2, 3]


@dataclass(frozen=True, slots=True)
class NumberBytes:
    """Bytes of each kind of number that training keeps.

    Args:
        weights: Of a parameter as it is computed with.
        gradients: Of a gradient as it is added up and sent.
        optimizer: Of all that the optimizer keeps for a parameter, a float32 copy of it included.
        activations: Of a number that the forward pass keeps or sends.

    Raises:
        ValueError: If one is negative, or activations have no bytes.

    Example:
        >>> sum((MIXED.weights, MIXED.gradients, MIXED.optimizer))
        16
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    def __post_init__(self) -> None:
        if min(self.weights, self.gradients, self.optimizer) < 0 or self.activations < 1:
            raise ValueError(f"bytes of a number cannot be negative, and activations need at least 1; got {self}.")


FLOAT32 = NumberBytes(weights=4, gradients=4, optimizer=8, activations=4)
MIXED = NumberBytes(weights=2, gradients=2, optimizer=12, activations=2)  # Adam as in the ZeRO paper: 16 together
MIXED_FLOAT32_GRADIENTS = NumberBytes(weights=2, gradients=4, optimizer=12, activations=2)  # Megatron-LM, Llama 3


def zero_memory(num_parameters: float, *, num_ranks: int, stage: ZeroStage, numbers: NumberBytes = MIXED) -> MemoryUse:
    """Return the bytes of model state that each rank keeps.

    Stage 1 shards the optimizer's state over the ranks, stage 2 gradients besides, stage 3 parameters besides; stage 0
    is plain data parallelism. Left out is what is whole only for a moment: a block's parameters while they are used,
    a bucket of gradients before it is scattered.

    Args:
        num_parameters: Of the model.
        num_ranks: That it is sharded over.
        stage: 0 to 3.
        numbers: Bytes of each kind.

    Returns:
        A `MemoryUse` without activations, which ZeRO does not shard.

    Raises:
        ValueError: If a count is not positive, or there is no such stage.

    Example:
        >>> for stage in (0, 1, 2, 3):  # 7.5 billion parameters on 64 ranks, as in the paper's figure 1
        ...     print(stage, round(zero_memory(7.5e9, num_ranks=64, stage=stage).total / 1e9, 1))
        0 120.0
        1 31.4
        2 16.6
        3 1.9

    Reference: Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models",
    figure 1, https://arxiv.org/abs/1910.02054
    """
    _check(num_parameters, num_ranks, stage)

    def share(of_number: int, *, from_stage: int) -> int:
        whole = num_parameters * of_number
        return -(-round(whole) // num_ranks) if stage >= from_stage else round(whole)

    return MemoryUse(
        weights=share(numbers.weights, from_stage=3),
        gradients=share(numbers.gradients, from_stage=2),
        optimizer=share(numbers.optimizer, from_stage=1),
        activations=0,
    )


def zero_traffic(
    num_parameters: float,
    *,
    num_ranks: int,
    stage: ZeroStage,
    numbers: NumberBytes = MIXED,
    num_micro_batches: int = 1,
) -> float:
    """Return the bytes that each rank sends in a step, by ring collectives.

    Stage 0 all-reduces gradients; stage 1 scatters their sums and gathers the updated weights, which is as much.
    Neither depends on how many micro-batches are accumulated. From stage 2 on a rank has no room for whole gradients,
    so they are scattered after every micro-batch; in stage 3 weights are gathered for each forward and backward pass.

    Args:
        num_parameters: Of the model.
        num_ranks: That it is sharded over.
        stage: 0 to 3.
        numbers: Bytes of each kind.
        num_micro_batches: Accumulated in a step.

    Raises:
        ValueError: If a count is not positive, or there is no such stage.

    Example:
        >>> [round(zero_traffic(1e9, num_ranks=1000, stage=stage) / 1e9, 1) for stage in (0, 1, 2, 3)]
        [4.0, 4.0, 4.0, 6.0]
        >>> [round(zero_traffic(1e9, num_ranks=1000, stage=s, num_micro_batches=8) / 1e9) for s in (1, 2, 3)]
        [4, 18, 48]

    Reference: Rajbhandari et al. 2020, section 7
    """
    _check(num_parameters, num_ranks, stage)
    if num_micro_batches < 1:
        raise ValueError(f"num_micro_batches must be at least 1, got {num_micro_batches}.")
    weights, gradients = numbers.weights * num_parameters, numbers.gradients * num_parameters
    moved = {
        0: 2 * gradients,
        1: gradients + weights,
        2: num_micro_batches * gradients + weights,
        3: num_micro_batches * (gradients + 2 * weights),
    }[stage]
    return (num_ranks - 1) / num_ranks * moved


def _check(num_parameters: float, num_ranks: int, stage: int) -> None:
    if not num_parameters > 0 or num_ranks < 1:
        raise ValueError(f"expected parameters and ranks, got {num_parameters} and {num_ranks}.")
    if stage not in get_args(ZeroStage):
        raise ValueError(f"ZeRO has the stages {get_args(ZeroStage)}, got {stage!r}.")
