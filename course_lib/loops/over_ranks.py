"""Adding up what all ranks computed in a step: one small message for the numbers, then the gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.collectives import all_sum
from course_lib.loops.loss import exact_dtype


def add_over_ranks(
    parameters: Sequence[nn.Parameter], total: Tensor, count: int | Tensor, sums: dict[str, Tensor]
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the sums of loss, count and metrics over all ranks, and leave the summed gradients in ``.grad``.

    A parameter that only some ranks used gets a gradient of zeros on the others, so that all step alike.

    Args:
        parameters: Those that require a gradient, in the same order on every rank.
        total: This rank's summed loss.
        count: How many targets it sums over.
        sums: This rank's summed metrics, under the same names on every rank.
    """
    has_gradient = [parameter.grad is not None for parameter in parameters]
    device, dtype = total.device, exact_dtype(total.device)
    known = count if isinstance(count, Tensor) else torch.full((), count, device=device)  # filled there: no transfer
    numbers = torch.stack([value.to(device, dtype) for value in (total, known, *sums.values())])
    if all(has_gradient):  # filled there: no transfer
        flags = torch.ones(len(parameters), dtype=dtype, device=device)
    else:
        flags = torch.tensor(has_gradient, dtype=dtype, device=device)
    small = torch.cat([numbers, flags])
    all_sum([small])
    summed = small[: len(numbers)]
    if not all(has_gradient):  # only then does it matter what the others have, and reading waits for the device
        has_gradient = small[len(numbers) :].bool().tolist()
    used = [parameter for parameter, has_one in zip(parameters, has_gradient, strict=True) if has_one]
    for parameter in used:
        if parameter.grad is None:  # another rank has one: the message must have the same shape everywhere
            parameter.grad = torch.zeros_like(parameter)
    all_sum([parameter.grad for parameter in used if parameter.grad is not None])
    return summed[0].to(total.dtype), summed[1].long(), dict(zip(sums, summed[2:], strict=True))
