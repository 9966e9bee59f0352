"""The learning rate as a plain function of the step: each parameter group's own rate times one factor."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def remember_rates(optimizer: torch.optim.Optimizer) -> None:
    """Note each group's learning rate under ``"initial_lr"``, as torch's schedulers do, unless that is there."""
    for group in optimizer.param_groups:
        rate = group["lr"]
        group.setdefault("initial_lr", rate.clone() if isinstance(rate, Tensor) else rate)


def set_rates(optimizer: torch.optim.Optimizer, schedule: Callable[[int], float], step: int) -> None:
    """Set each group's learning rate to its initial one times ``schedule(step)``.

    Raises:
        ValueError: If the schedule gives something that is no finite number of at least 0.

    Example:
        >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        >>> set_rates(sgd, lambda step: 1 / (1 + step), 3)
        >>> sgd.param_groups[0]["lr"]
        0.125
    """
    factor = float(schedule(step))  # NumPy's numbers cannot be saved
    if not (math.isfinite(factor) and factor >= 0):
        raise ValueError(
            f"the schedule gave {factor} at step {step}: it must give a finite factor of at least 0, which multiplies "
            "the learning rate."
        )
    remember_rates(optimizer)  # a group may have been added
    for group in optimizer.param_groups:
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(rate)
        else:
            group["lr"] = rate
