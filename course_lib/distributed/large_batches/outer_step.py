"""The outer step of local SGD and DiLoCo: from where all workers started, towards where they have got on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class OuterStep:
    """Parameters as they were at the last meeting, and an optimizer that moves them.

    Its "gradient" is start minus average: what the workers moved, turned round. With rate 1 and no momentum the new
    start is the average itself: local SGD, or federated averaging. DiLoCo takes Nesterov momentum.

    Args:
        parameters: To begin with; copied.
        rate: Learning rate of the outer optimizer.
        momentum: Its Nesterov momentum; 0 for none.

    Raises:
        ValueError: If the rate is not positive or the momentum not in [0, 1).

    Example:
        >>> outer = OuterStep([torch.tensor([0.0])], rate=0.5, momentum=0.0)
        >>> outer.step([torch.tensor([1.0])])  # halfway to the average
        >>> outer.start
        [tensor([0.5000])]

    Reference: Stich 2019, "Local SGD converges fast and communicates little", https://arxiv.org/abs/1805.09767;
    Douillard et al. 2023, "DiLoCo: distributed low-communication training of language models", algorithm 1,
    https://arxiv.org/abs/2311.08105
    """

    def __init__(self, parameters: Sequence[Tensor], *, rate: float = 0.7, momentum: float = 0.9) -> None:
        if not 0 < rate < math.inf or not 0 <= momentum < 1:
            raise ValueError(f"expected a positive rate and a momentum in [0, 1), got {rate} and {momentum}.")
        self.start = [parameter.detach().clone() for parameter in parameters]
        self._optimizer = torch.optim.SGD(self.start, lr=rate, momentum=momentum, nesterov=momentum > 0)

    @torch.no_grad()
    def step(self, average: Sequence[Tensor]) -> None:
        """Move the start towards (or, with momentum, beyond) the average of the workers' parameters."""
        for start, mean in zip(self.start, average, strict=True):
            start.grad = start - mean
        self._optimizer.step()
        for start in self.start:
            start.grad = None

    @torch.no_grad()
    def give(self, parameters: Sequence[nn.Parameter]) -> None:
        """Let a worker begin at the start."""
        torch._foreach_copy_(list(parameters), self.start)

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {"start": self.start, "optimizer": self._optimizer.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        torch._foreach_copy_(self.start, state["start"])
        self._optimizer.load_state_dict(state["optimizer"])
