"""LAMB: Adam's step, rescaled layer by layer to a fixed share of the layer's own length."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.foreach import ForeachOptimizer, Options, State, check_betas, check_number, scale_


class LAMB(ForeachOptimizer):
    """Move every layer by the learning rate times its own length, in the direction that Adam with decay would take.

    Made for very large batches, where a rate that suits one layer is far too large for another. With m and v as in
    `Adam`, decay lambda, and ``|.|`` the Euclidean length of one whole parameter tensor::

        r     = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
        u     = r + lambda * theta
        theta = theta - eta * (|theta| / |u|) * u

    Conventions: those of the paper's Algorithm 2 with phi the identity. ``eps`` is outside the root and is added after
    the bias correction; decay is inside u, so it only turns the step and never lengthens it. The trust ratio
    ``|theta| / |u|`` is not clamped; where either length is 0 (a bias that starts at 0) it is 1, else such a parameter
    could never leave 0.

    Other implementations differ, so rates do not carry over: NVIDIA's FusedLAMB and timm's Lamb first clip the whole
    gradient to length 1 and by default give the trust ratio only to parameters that decay; timm can clamp the ratio to
    1 (``trust_clip``); an early version in PyTorch (cybertronai's pytorch-lamb) has no bias correction.

    Args:
        params: Parameters, or param groups with options of their own.
        lr: Learning rate; the share of its own length by which a layer moves in a step.
        betas: How much of the mean gradient and of the mean square is kept, each in [0, 1).
        eps: Added to the root, so that nothing is divided by 0.
        weight_decay: The lambda above.
        foreach: Whether to update parameters list by list; both ways give the same bits on the CPU.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> theta = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = LAMB([theta], lr=0.1, weight_decay=0.0)
        >>> theta.grad = torch.tensor([0.0, 7.0])
        >>> optimizer.step()
        >>> [round(value, 4) for value in theta.tolist()]  # a tenth of its length, which is 5
        [3.0, 3.5]

    Reference: You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes", Algorithm 2,
    https://arxiv.org/abs/1904.00962
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        foreach: bool = True,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach}
        super().__init__(params, options)

    def _check_options(self, options: Options) -> None:
        check_betas("LAMB", options["betas"])
        check_number("LAMB: eps", options["eps"], usual="1e-6")

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        return {"step": 0, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        beta1, beta2 = options["betas"]
        state["step"] = step = state["step"] + 1
        mean = state["exp_avg"].lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = square.sqrt().div_(math.sqrt(1 - beta2**step)).add_(options["eps"])
        update = mean.div(1 - beta1**step).div_(root).add_(parameter, alpha=options["weight_decay"])
        ratio = _trust_ratio(torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update))
        parameter.add_(update.mul_(ratio), alpha=-options["lr"])

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        beta1, beta2 = options["betas"]
        means, squares = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        step = states[0]["step"] + 1
        for state in states:
            state["step"] = step
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        scale_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, math.sqrt(1 - beta2**step))
        torch._foreach_add_(roots, options["eps"])
        updates = torch._foreach_div(means, 1 - beta1**step)
        torch._foreach_div_(updates, roots)
        torch._foreach_add_(updates, parameters, alpha=options["weight_decay"])
        lengths = torch.stack(torch._foreach_norm(parameters)), torch.stack(torch._foreach_norm(updates))
        torch._foreach_mul_(updates, _trust_ratio(*lengths).unbind())
        torch._foreach_add_(parameters, updates, alpha=-options["lr"])


def _trust_ratio(parameter_length: Tensor, update_length: Tensor) -> Tensor:
    """Elementwise, so it takes one pair of lengths or all of them; read by nobody, so no device waits."""
    both = (parameter_length > 0) & (update_length > 0)
    return torch.where(both, parameter_length / update_length, 1.0)
