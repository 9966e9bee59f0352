"""AdamW: Adam whose weight decay shrinks the weights themselves instead of joining the gradient."""

from __future__ import annotations

from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.adam import Adam
from course_lib.optim.foreach import Options, State, scale_


class AdamW(Adam):
    """Shrink every weight by the same share of itself, then do Adam's step with the bare gradient.

    With rate eta and decay lambda::

        theta = theta - eta * lambda * theta
        theta = theta - eta * (Adam's step; see `Adam`)

    Conventions, as in `torch.optim.AdamW`: decay is multiplied by the learning rate, schedule included, so a weight
    whose gradients are 0 shrinks about as ``exp(-lambda * sum of rates)``. In the paper's Algorithm 2 the decay is
    multiplied by the schedule's factor alone, so its lambda is the peak rate times this one. ``eps`` sits as in `Adam`.
    Biases and norms' gains are usually left out, by a param group with ``weight_decay=0``.

    Args:
        params: Parameters, or param groups with options of their own.
        lr: Learning rate.
        betas: How much of the mean gradient and of the mean square is kept, each in [0, 1).
        eps: Added to the root, after the bias correction.
        weight_decay: The lambda above.
        foreach: Whether to update parameters list by list; both ways give the same bits on the CPU.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> import torch
        >>> theta = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = AdamW([theta], lr=0.1, weight_decay=0.5)
        >>> theta.grad = torch.tensor([0.0])
        >>> optimizer.step()
        >>> round(theta.item(), 4)  # 1 - 0.1 * 0.5
        0.95

    Reference: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", Algorithm 2,
    https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach)

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        parameter.mul_(1 - options["lr"] * options["weight_decay"])
        super()._update_one(parameter, gradient, state, {**options, "weight_decay": 0.0})

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        if options["weight_decay"]:
            scale_(parameters, 1 - options["lr"] * options["weight_decay"])
        super()._update_many(parameters, gradients, states, {**options, "weight_decay": 0.0})
