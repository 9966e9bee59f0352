"""Adding up what all ranks computed in a step: one small message for the numbers, then the gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import all_sum, world_size
from course_lib.loops.loss import Loss, exact_dtype

if TYPE_CHECKING:
    from course_lib.loops.run import Run


def _total_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


@dataclass(frozen=True, slots=True)
class OverRanks:
    """What a run must know of a ``gradients`` function that shares the work among ranks in a way of its own.

    Such a function carries it as an attribute ``over_ranks``. One without, or one wrapped in another, is taken to know
    nothing of ranks: each has the whole model and its own rows, and the run adds up everything over all of them.

    Args:
        group: Ranks that hold the same parameters (or the same part of them) and see different rows: the numbers of a
            step, and gradients, are added up over these. All ranks by default.
        summed: Whether the function leaves gradients that are summed over ``group`` already.
        averaged: Whether that sum is divided by the number of ranks in ``group``, as torch's own engine does.
        counted: Whether the function returns one loss, with the count and the metrics of all ranks of ``group``.
        norm: Returns the Euclidean norm of the whole gradient, the same on every rank there is, from the optimizer's
            parameters that have a ``.grad``.
        check: Called once with the run that is to use it, to refuse what the function cannot do.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> OverRanks().norm([weight])
        tensor(5.)
    """

    group: dist.ProcessGroup | None = None
    summed: bool = False
    averaged: bool = False
    counted: bool = False
    norm: Callable[[Sequence[nn.Parameter]], Tensor] = _total_norm
    check: Callable[[Run], Any] = lambda run: None


OF_THE_RUN_ALONE = OverRanks()


def start_counting(loss: Loss, group: dist.ProcessGroup | None) -> Callable[[], Loss]:
    """Begin to add up loss, count and metrics over ``group``; calling what is returned waits for the sums.

    So the message can be on its way while the backward pass goes on.
    """
    if world_size(group) == 1:
        return lambda: loss
    message = _packed(loss)
    work = dist.all_reduce(message, group=group, async_op=True)

    def counted() -> Loss:
        work.wait()
        return _unpacked(message, loss)

    return counted


def add_over_ranks(parameters: Sequence[nn.Parameter], loss: Loss, group: dist.ProcessGroup | None) -> Loss:
    """Return the sums of loss, count and metrics over ``group``, and leave the summed gradients in ``.grad``.

    A parameter that only some ranks used gets a gradient of zeros on the others, so that all step alike.

    Args:
        parameters: Those whose gradients are to be summed, in the same order on every rank.
        loss: This rank's sums, with metrics under the same names on every rank.
        group: The ranks that take part; all of them if None.
    """
    has_gradient = [parameter.grad is not None for parameter in parameters]
    numbers = _packed(loss)
    complete = all(has_gradient)
    flags = numbers.new_ones(len(parameters)) if complete else numbers.new_tensor(has_gradient)  # filled: no transfer
    small = torch.cat([numbers, flags])
    dist.all_reduce(small, group=group)
    if not complete:  # only then does it matter what the others have, and reading waits for the device
        has_gradient = small[len(numbers) :].bool().tolist()
    used = [parameter for parameter, has_one in zip(parameters, has_gradient, strict=True) if has_one]
    for parameter in used:
        if parameter.grad is None:  # another rank has one: the message must have the same shape everywhere
            parameter.grad = torch.zeros_like(parameter)
    all_sum([parameter.grad for parameter in used if parameter.grad is not None], group)
    return _unpacked(small, loss)


def _packed(loss: Loss) -> Tensor:
    device, dtype = loss.total.device, exact_dtype(loss.total.device)
    count = 1 if loss.count is None else loss.count  # a mean that cannot be split: each rank's counts once
    known = count if isinstance(count, Tensor) else torch.full((), count, dtype=dtype, device=device)  # no transfer
    return torch.stack([value.to(device, dtype) for value in (loss.total, known, *loss.metrics.values())])


def _unpacked(message: Tensor, loss: Loss) -> Loss:
    total, count, *sums = message[: 2 + len(loss.metrics)].unbind()
    return Loss(total.to(loss.total.dtype), count.long(), dict(zip(loss.metrics, sums, strict=True)))
