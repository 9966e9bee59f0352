"""Adam: momentum divided by the root of the recent mean square, both corrected for having started at 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.foreach import ForeachOptimizer, Options, State, check_betas, check_number, scale_


class Adam(ForeachOptimizer):
    """Step by the mean gradient over its root mean square: the learning rate where gradients agree, less in noise.

    With gradient g (to which ``weight_decay`` times the parameter theta is added first), rate eta, step t = 1, 2, ...::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        theta = theta - eta * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Conventions, as in `torch.optim.Adam` and the paper's Algorithm 1: ``eps`` is outside the root and is added after
    the bias correction (in the variant at the end of the paper's section 2, and in TensorFlow's, it is added before,
    which makes it weigh more in early steps). t counts the gradients of each parameter by itself. Weight decay is L2:
    it is divided by the root like any gradient, so weights with large gradients hardly decay; see `AdamW`.

    Args:
        params: Parameters, or param groups with options of their own.
        lr: Learning rate.
        betas: How much of the mean gradient and of the mean square is kept, each in [0, 1).
        eps: Added to the root, so that nothing is divided by 0.
        weight_decay: Strength of the L2 penalty.
        foreach: Whether to update parameters list by list; both ways give the same bits on the CPU.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> theta = torch.tensor([1.0, 1.0], requires_grad=True)
        >>> optimizer = Adam([theta], lr=0.1)
        >>> theta.grad = torch.tensor([1e-3, -1e3])
        >>> optimizer.step()
        >>> [round(value, 4) for value in theta.tolist()]  # the first step is lr times the gradient's sign
        [0.9, 1.1]

    Reference: Kingma & Ba 2015, "Adam: a method for stochastic optimization", Algorithm 1,
    https://arxiv.org/abs/1412.6980
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach}
        super().__init__(params, options)

    def _check_options(self, options: Options) -> None:
        check_betas(type(self).__name__, options["betas"])
        check_number(f"{type(self).__name__}: eps", options["eps"], usual="1e-8")

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        return {"step": 0, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        beta1, beta2 = options["betas"]
        state["step"] = step = state["step"] + 1
        if options["weight_decay"]:
            gradient = gradient.add(parameter, alpha=options["weight_decay"])
        mean = state["exp_avg"].lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = square.sqrt().div_(math.sqrt(1 - beta2**step)).add_(options["eps"])
        parameter.addcdiv_(mean, root, value=-options["lr"] / (1 - beta1**step))

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        beta1, beta2 = options["betas"]
        means, squares = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        step, slopes = states[0]["step"] + 1, gradients
        for state in states:
            state["step"] = step
        if options["weight_decay"]:
            slopes = list(torch._foreach_add(gradients, parameters, alpha=options["weight_decay"]))
        torch._foreach_lerp_(means, slopes, 1 - beta1)
        scale_(squares, beta2)
        torch._foreach_addcmul_(squares, slopes, slopes, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, math.sqrt(1 - beta2**step))
        torch._foreach_add_(roots, options["eps"])
        torch._foreach_addcdiv_(parameters, means, roots, value=-options["lr"] / (1 - beta1**step))
