"""Adding up what all ranks computed in a step: one small message for the numbers, then the gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import all_sum
from course_lib.loops.loss import exact_dtype

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
    norm: Callable[[Sequence[nn.Parameter]], Tensor] = _total_norm
    check: Callable[[Run], Any] = lambda run: None


OF_THE_RUN_ALONE = OverRanks()


def add_over_ranks(
    parameters: Sequence[nn.Parameter],
    total: Tensor,
    count: int | Tensor,
    sums: dict[str, Tensor],
    group: dist.ProcessGroup | None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the sums of loss, count and metrics over ``group``, and leave the summed gradients in ``.grad``.

    A parameter that only some ranks used gets a gradient of zeros on the others, so that all step alike.

    Args:
        parameters: Those whose gradients are to be summed, in the same order on every rank.
        total: This rank's summed loss.
        count: How many targets it sums over.
        sums: This rank's summed metrics, under the same names on every rank.
        group: The ranks that take part; all of them if None.
    """
    has_gradient = [parameter.grad is not None for parameter in parameters]
    device, dtype = total.device, exact_dtype(total.device)
    known = count if isinstance(count, Tensor) else torch.full((), count, device=device)  # filled there: no transfer
    numbers = torch.stack([value.to(device, dtype) for value in (total, known, *sums.values())])
    if all(has_gradient):  # filled there: no transfer
        flags = torch.ones(len(parameters), dtype=dtype, device=device)
    else:
        flags = torch.tensor(has_gradient, dtype=dtype, device=device)
    small = torch.cat([numbers, flags]) if parameters else numbers
    dist.all_reduce(small, group=group)
    summed = small[: len(numbers)]
    if not all(has_gradient):  # only then does it matter what the others have, and reading waits for the device
        has_gradient = small[len(numbers) :].bool().tolist()
    used = [parameter for parameter, has_one in zip(parameters, has_gradient, strict=True) if has_one]
    for parameter in used:
        if parameter.grad is None:  # another rank has one: the message must have the same shape everywhere
            parameter.grad = torch.zeros_like(parameter)
    all_sum([parameter.grad for parameter in used if parameter.grad is not None], group)
    return summed[0].to(total.dtype), summed[1].long(), dict(zip(sums, summed[2:], strict=True))
