"""Stochastic gradient descent, with momentum in Polyak's and in Nesterov's form."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.foreach import ForeachOptimizer, Options, State, check_number, scale_


class SGD(ForeachOptimizer):
    """Step against the gradient; with momentum, against a decaying sum of all gradients so far.

    With gradient g (to which ``weight_decay`` times the parameter theta is added first), momentum mu, rate eta::

        b = mu * b + (1 - dampening) * g      the first time: b = g, whatever the dampening
        theta = theta - eta * b               Nesterov: theta - eta * (g + mu * b)

    Conventions, as in `torch.optim.SGD`: the buffer is a sum, not an average, so momentum 0.9 makes steps up to ten
    times as long. The rate multiplies the buffer when it is used (in Sutskever et al. 2013 it is inside), so a schedule
    acts at once on all that has gathered. Nesterov's form is theirs rewritten for the point looked ahead to, so that it
    needs no second gradient; theta is that point. Weight decay is L2: it goes through the momentum, like the gradient
    of an added ``weight_decay / 2 * theta^2``.

    Args:
        params: Parameters, or param groups with options of their own.
        lr: Learning rate.
        momentum: How much of the buffer is kept, in [0, 1).
        dampening: How much of each gradient but the first does not enter the buffer, in [0, 1).
        nesterov: Whether to use Nesterov's form; needs momentum, and no dampening.
        weight_decay: Strength of the L2 penalty.
        foreach: Whether to update parameters list by list; both ways give the same bits on the CPU.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> theta = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = SGD([theta], lr=0.1, momentum=0.5)
        >>> for _ in range(2):
        ...     theta.grad = torch.tensor([1.0])
        ...     optimizer.step()
        >>> round(theta.item(), 4)  # 1 - 0.1 * 1 - 0.1 * 1.5
        0.75

    Reference: Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; Sutskever et al. 2013,
    "On the importance of initialization and momentum in deep learning", eq. 3 and 4.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, {**options, "weight_decay": weight_decay, "foreach": foreach})

    def _check_options(self, options: Options) -> None:
        check_number("SGD: momentum", options["momentum"], below=1.0, usual="0.9")
        check_number("SGD: dampening", options["dampening"], below=1.0, usual="0")
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov=True needs a momentum above 0 and dampening 0, got "
                f"momentum={options['momentum']} and dampening={options['dampening']}."
            )

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        return {"momentum_buffer": None}

    def _alike(self, parameter: Tensor, state: State) -> Hashable:
        return state["momentum_buffer"] is None

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        momentum = options["momentum"]
        if options["weight_decay"]:
            gradient = gradient.add(parameter, alpha=options["weight_decay"])
        if momentum:
            if state["momentum_buffer"] is None:
                buffer = state["momentum_buffer"] = gradient.clone()
            else:
                buffer = state["momentum_buffer"].mul_(momentum).add_(gradient, alpha=1 - options["dampening"])
            gradient = gradient.add(buffer, alpha=momentum) if options["nesterov"] else buffer
        parameter.add_(gradient, alpha=-options["lr"])

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        momentum, steps = options["momentum"], gradients
        if options["weight_decay"]:
            steps = list(torch._foreach_add(gradients, parameters, alpha=options["weight_decay"]))
        if momentum:
            if states[0]["momentum_buffer"] is None:
                for state, gradient in zip(states, steps, strict=True):
                    state["momentum_buffer"] = gradient.clone()
                buffers = [state["momentum_buffer"] for state in states]
            else:
                buffers = [state["momentum_buffer"] for state in states]
                scale_(buffers, momentum)
                torch._foreach_add_(buffers, steps, alpha=1 - options["dampening"])
            steps = list(torch._foreach_add(steps, buffers, alpha=momentum)) if options["nesterov"] else buffers
        torch._foreach_add_(parameters, steps, alpha=-options["lr"])
