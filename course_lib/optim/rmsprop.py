"""RMSProp: divide each gradient by the root of its recent mean square."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.foreach import ForeachOptimizer, Options, State, check_number, scale_


class RMSProp(ForeachOptimizer):
    """Give every single weight a step of about the learning rate, however large or small its gradients are.

    With gradient g (to which ``weight_decay`` times the parameter theta is added first), rate eta::

        v = alpha * v + (1 - alpha) * g^2
        theta = theta - eta * g / (sqrt(v) + eps)

    Conventions, as in `torch.optim.RMSprop`: ``eps`` is outside the root (TensorFlow and Keras put it inside).
    ``alpha`` is 0.99; the lecture says 0.9. There is no bias correction, so v starts too small and the first steps are
    too long, by 10 times at alpha 0.99. ``centered`` takes the root of the variance instead, v minus the square of the
    mean gradient. ``momentum`` gathers the divided gradients in a buffer that starts at 0, and the rate multiplies it
    when it is used.
    Weight decay is L2: it is divided by the root like any gradient, so weights with large gradients hardly decay.

    Args:
        params: Parameters, or param groups with options of their own.
        lr: Learning rate.
        alpha: How much of the mean square is kept, in [0, 1).
        eps: Added to the root, so that nothing is divided by 0.
        momentum: How much of the buffer of divided gradients is kept, in [0, 1).
        centered: Whether to subtract the squared mean gradient before the root.
        weight_decay: Strength of the L2 penalty.
        foreach: Whether to update parameters list by list; both ways give the same bits on the CPU.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> theta = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = RMSProp([theta], lr=0.01, alpha=0.99)
        >>> theta.grad = torch.tensor([123.0])
        >>> optimizer.step()
        >>> round(theta.item(), 4)  # 1 - 0.01 * g / (0.1 * g), whatever g is
        0.9

    Reference: Hinton 2012, "Neural networks for machine learning", lecture 6e; centred: Graves 2013, "Generating
    sequences with recurrent neural networks", eq. 38 to 45, https://arxiv.org/abs/1308.0850
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
        super().__init__(params, {**options, "weight_decay": weight_decay, "foreach": foreach})

    def _check_options(self, options: Options) -> None:
        check_number("RMSProp: alpha", options["alpha"], below=1.0, usual="0.9 or 0.99")
        check_number("RMSProp: eps", options["eps"], usual="1e-8")
        check_number("RMSProp: momentum", options["momentum"], below=1.0, usual="0 or 0.9")

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        state: State = {"step": 0, "square_avg": torch.zeros_like(parameter)}
        if options["centered"]:
            state["grad_avg"] = torch.zeros_like(parameter)
        if options["momentum"]:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        alpha, lr = options["alpha"], options["lr"]
        state["step"] += 1
        if options["weight_decay"]:
            gradient = gradient.add(parameter, alpha=options["weight_decay"])
        square = variance = state["square_avg"].mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        if options["centered"]:
            mean = state["grad_avg"].lerp_(gradient, 1 - alpha)
            variance = square.addcmul(mean, mean, value=-1)
        root = variance.sqrt().add_(options["eps"])
        if options["momentum"]:
            buffer = state["momentum_buffer"].mul_(options["momentum"]).addcdiv_(gradient, root)
            parameter.add_(buffer, alpha=-lr)
        else:
            parameter.addcdiv_(gradient, root, value=-lr)

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        alpha, lr, slopes = options["alpha"], options["lr"], gradients
        squares = [state["square_avg"] for state in states]
        for state in states:
            state["step"] += 1
        if options["weight_decay"]:
            slopes = list(torch._foreach_add(gradients, parameters, alpha=options["weight_decay"]))
        scale_(squares, alpha)
        torch._foreach_addcmul_(squares, slopes, slopes, value=1 - alpha)
        if options["centered"]:
            means = [state["grad_avg"] for state in states]
            torch._foreach_lerp_(means, slopes, 1 - alpha)
            roots = torch._foreach_addcmul(squares, means, means, value=-1)
            torch._foreach_sqrt_(roots)
        else:
            roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, options["eps"])
        if options["momentum"]:
            buffers = [state["momentum_buffer"] for state in states]
            scale_(buffers, options["momentum"])
            torch._foreach_addcdiv_(buffers, slopes, roots)
            torch._foreach_add_(parameters, buffers, alpha=-lr)
        else:
            torch._foreach_addcdiv_(parameters, slopes, roots, value=-lr)
