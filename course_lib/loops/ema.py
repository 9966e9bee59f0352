"""An exponential moving average of the weights, kept beside the trained ones for evaluation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.loops.compiled import original


class EMA:
    """A second model whose weights follow the trained ones slowly, which averages out the noise of the last steps.

    The first update copies the weights; each later one moves them by ``1 - decay`` of the way. So the random start is
    not in the average, as in `torch.optim.swa_utils.AveragedModel`. Buffers are copied, not averaged.

    Args:
        model: The model that is trained; `model` of this object is a copy of it in evaluation mode.
        decay: What is kept of the average at each update; ``1 / (1 - decay)`` is about how many steps it looks back.

    Raises:
        ValueError: If ``decay`` is not from 0 to below 1.

    Example:
        >>> trained = nn.Linear(1, 1, bias=False)
        >>> average = EMA(trained, decay=0.75)
        >>> for weight in (1.0, 5.0):
        ...     _ = nn.init.constant_(trained.weight, weight)
        ...     average.update(trained)
        >>> average.model.weight.item()  # 0.75 * 1 + 0.25 * 5
        2.0

    Reference: Polyak & Juditsky 1992, *Acceleration of Stochastic Approximation by Averaging* (a plain average);
    Tarvainen & Valpola 2017, *Mean teachers are better role models*, eq. 1, https://arxiv.org/abs/1703.01780
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be from 0 to below 1, got {decay}; 0.99 to 0.9999 is usual.")
        self.decay = decay
        self.num_updates = torch.tensor(0)  # on the device once a step may have been skipped there
        self.model = copy.deepcopy(original(model)).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, skipped: Tensor | None = None) -> None:
        """Take in the weights of ``model``; with ``skipped``, only if that truth value on the device is false.

        Raises:
            ValueError: If ``model`` has other parameters than the one this average was made from.
        """
        mine: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        if [weight.shape for weight in mine] != [weight.shape for weight in theirs]:
            raise ValueError("this average was made from a model with other parameters: make a new EMA(model).")
        if skipped is not None:
            self.num_updates = self.num_updates.to(skipped.device)
            step = torch.where(self.num_updates == 0, 1.0, 1.0 - self.decay).masked_fill(skipped, 0.0)
            torch._foreach_lerp_(mine, theirs, [step.to(parameter.dtype) for parameter in mine])
            self.num_updates = self.num_updates + ~skipped
        else:
            if self.num_updates == 0:
                torch._foreach_copy_(mine, theirs)
            else:
                torch._foreach_lerp_(mine, theirs, 1.0 - self.decay)
            self.num_updates += 1
        for buffer, source in zip(self.model.buffers(), model.buffers(), strict=True):
            buffer.copy_(source)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Give ``model`` the averaged weights and the buffers."""
        original(model).load_state_dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {"num_updates": int(self.num_updates), "model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.num_updates = torch.tensor(state["num_updates"])
