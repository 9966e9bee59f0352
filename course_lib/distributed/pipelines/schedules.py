"""Pipeline schedules as data: what each stage does, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["forward", "backward"]
ScheduleName = Literal["gpipe", "1f1b"]


@dataclass(frozen=True, slots=True)
class Action:
    """One pass of one micro-batch through one stage.

    Example:
        >>> print(Action("forward", 2))
        F2
    """

    kind: Kind
    micro_batch: int

    def __str__(self) -> str:
        return f"{self.kind[0].upper()}{self.micro_batch}"


Schedule = tuple[tuple[Action, ...], ...]


def gpipe(num_stages: int, num_micro_batches: int) -> Schedule:
    """Return the schedule of GPipe: all forward passes, then all backward passes.

    Simple, but each stage keeps the activations of all micro-batches until the first backward pass.

    Args:
        num_stages: p, the ranks that the layers are dealt out to.
        num_micro_batches: m, the pieces that a batch is cut into.

    Returns:
        For each stage its actions in order.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> for actions in gpipe(2, 3):
        ...     print(*actions)
        F0 F1 F2 B0 B1 B2
        F0 F1 F2 B0 B1 B2

    Reference: Huang et al. 2019, GPipe: efficient training of giant neural networks using pipeline parallelism,
    section 2, https://arxiv.org/abs/1811.06965
    """
    _check(num_stages, num_micro_batches)
    forward = tuple(Action("forward", number) for number in range(num_micro_batches))
    backward = tuple(Action("backward", number) for number in range(num_micro_batches))
    return (forward + backward,) * num_stages


def one_forward_one_backward(num_stages: int, num_micro_batches: int) -> Schedule:
    """Return the schedule 1F1B: as soon as a micro-batch can go backward, it does.

    A stage with ``k`` stages behind it makes ``k`` forward passes in advance, and then takes turns. It takes as long as
    GPipe, but a stage keeps the activations of at most ``p`` micro-batches, however many there are.

    Args:
        num_stages: p, the ranks that the layers are dealt out to.
        num_micro_batches: m, the pieces that a batch is cut into.

    Returns:
        For each stage its actions in order.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> for actions in one_forward_one_backward(2, 3):
        ...     print(*actions)
        F0 F1 B0 F2 B1 B2
        F0 B0 F1 B1 F2 B2

    Reference: Narayanan et al. 2019, PipeDream: generalized pipeline parallelism for DNN training, section 3.2,
    https://arxiv.org/abs/1806.03377; with one update for all micro-batches (a flush): Narayanan et al. 2021, Efficient
    large-scale language model training on GPU clusters using Megatron-LM, figure 4, https://arxiv.org/abs/2104.04473
    """
    _check(num_stages, num_micro_batches)
    return tuple(_one_stage(num_stages - 1 - stage, num_micro_batches) for stage in range(num_stages))


def make_schedule(name: ScheduleName, num_stages: int, num_micro_batches: int) -> Schedule:
    """Return a schedule by its name.

    Raises:
        ValueError: If there is none of this name, or a number is below 1.

    Example:
        >>> make_schedule("1f1b", 1, 1) == one_forward_one_backward(1, 1)
        True
    """
    if name not in get_args(ScheduleName):
        raise ValueError(f"schedule must be one of {get_args(ScheduleName)}, got {name!r}.")
    return {"gpipe": gpipe, "1f1b": one_forward_one_backward}[name](num_stages, num_micro_batches)


def _one_stage(num_behind: int, num_micro_batches: int) -> tuple[Action, ...]:
    in_advance = min(num_behind, num_micro_batches)
    actions = [Action("forward", number) for number in range(in_advance)]
    for number in range(num_micro_batches):
        if number + in_advance < num_micro_batches:
            actions.append(Action("forward", number + in_advance))
        actions.append(Action("backward", number))
    return tuple(actions)


def _check(num_stages: int, num_micro_batches: int) -> None:
    if num_stages < 1 or num_micro_batches < 1:
        raise ValueError(f"a pipeline needs stages and micro-batches, got {num_stages} and {num_micro_batches}.")
