"""Muon: momentum whose matrix is made nearly orthogonal before the step, so that all its directions count alike."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.foreach import ForeachOptimizer, Options, State, check_number, scale_
from course_lib.optim.newton_schulz import COEFFICIENTS, newton_schulz

DTYPES = {None: None, "bfloat16": torch.bfloat16, "float32": torch.float32}


class Muon(ForeachOptimizer):
    """Step a weight matrix by an orthogonal matrix: equally far in every direction in which the gradient points at all.

    Gradients of weight matrices are dominated by a few directions; this one hears the others too. With gradient G of
    a matrix theta of n rows and m columns, momentum mu, rate eta, decay lambda::

        B     = mu * B + (1 - mu) * G
        M     = (1 - mu) * G + mu * B            without nesterov: M = B
        theta = theta - eta * lambda * theta
        theta = theta - eta * adjust * newton_schulz(M)

    Only for the weights of hidden layers: give embeddings, the output layer, biases and norms' gains to `AdamW`, by a
    second optimizer. A convolution's (out, in, ...) is taken as a matrix of ``out`` rows.

    Conventions, as in `torch.optim.Muon`: B is an average (for the direction it makes no difference); decay is
    decoupled and multiplied by the rate without ``adjust``, which is ``sqrt(max(1, n / m))`` for "original" (Jordan's)
    and ``0.2 * sqrt(max(n, m))`` for "match_rms_adamw" (Liu et al.), with which AdamW's rate and decay can be kept.
    ``eps`` is a floor under the norm that M is divided by (Jordan's code adds it). Newton-Schulz runs in the
    parameter's own dtype here and in bfloat16 in torch; ``ns_dtype="bfloat16"`` does as torch.

    Args:
        params: Parameters of two or more dimensions, or param groups of such.
        lr: Learning rate.
        momentum: How much of the average gradient is kept, in [0, 1).
        nesterov: Whether the newest gradient counts twice.
        weight_decay: The lambda above.
        ns_steps: Steps of `newton_schulz`.
        ns_coefficients: Its polynomial.
        eps: Least norm that a matrix is divided by before them.
        adjust_lr_fn: Which ``adjust``.
        ns_dtype: What the steps are computed in; None is the parameter's own dtype.
        foreach: Whether to update parameters list by list, matrices of one shape in one batch. A batched product may
            round differently, so the two forms agree to some units in the last place, not to the bit.

    Raises:
        ValueError: If an option is out of range or a parameter has fewer than two dimensions.

    Example:
        >>> theta = torch.zeros(2, 2, requires_grad=True)
        >>> optimizer = Muon([theta], lr=0.1, ns_coefficients=(1.875, -1.25, 0.375), ns_steps=20)
        >>> theta.grad = torch.tensor([[100.0, 0.0], [0.0, 1.0]])
        >>> optimizer.step()
        >>> [round(value, 4) for value in theta.diag().tolist()]  # the weak direction moves as far as the strong one
        [-0.1, -0.1]

    Reference: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/; Liu et al. 2025, "Muon is scalable for LLM training",
    https://arxiv.org/abs/2502.16982
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        ns_steps: int = 5,
        ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
        eps: float = 1e-7,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] = "original",
        ns_dtype: Literal["bfloat16", "float32"] | None = None,
        foreach: bool = True,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        iteration = {"ns_steps": ns_steps, "ns_coefficients": ns_coefficients, "eps": eps, "ns_dtype": ns_dtype}
        super().__init__(params, {**options, **iteration, "adjust_lr_fn": adjust_lr_fn, "foreach": foreach})

    def _check_options(self, options: Options) -> None:
        check_number("Muon: momentum", options["momentum"], below=1.0, usual="0.95")
        check_number("Muon: eps", options["eps"], usual="1e-7")
        if not isinstance(options["ns_steps"], int) or options["ns_steps"] < 1:
            raise ValueError(f"Muon: ns_steps must be a whole number >= 1, got {options['ns_steps']!r}; usual is 5.")
        coefficients = options["ns_coefficients"]
        if not isinstance(coefficients, list) or len(coefficients) != 3:
            raise ValueError(f"Muon: ns_coefficients must be three numbers, got {coefficients!r}.")
        if options["adjust_lr_fn"] not in ("original", "match_rms_adamw"):
            raise ValueError(
                f"Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', got {options['adjust_lr_fn']!r}."
            )
        if options["ns_dtype"] not in DTYPES:
            raise ValueError(f"Muon: ns_dtype must be one of {list(DTYPES)}, got {options['ns_dtype']!r}.")
        for parameter in options["params"]:
            if parameter.ndim < 2:
                raise ValueError(
                    f"Muon makes matrices orthogonal, got a parameter of shape {tuple(parameter.shape)}: give biases, "
                    "gains and other parameters of fewer than two dimensions to AdamW."
                )

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def _alike(self, parameter: Tensor, state: State) -> Hashable:
        return parameter.shape

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        lr, momentum = options["lr"], options["momentum"]
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = gradient.lerp(buffer, momentum) if options["nesterov"] else buffer
        orthogonal = _orthogonal(update.flatten(1), options).view_as(parameter)
        parameter.mul_(1 - lr * options["weight_decay"])
        parameter.add_(orthogonal, alpha=-lr * _adjust(parameter, options))

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        lr, momentum = options["lr"], options["momentum"]
        updates = buffers = [state["momentum_buffer"] for state in states]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        if options["nesterov"]:
            updates = list(torch._foreach_lerp(gradients, buffers, momentum))
        matrices = [update.flatten(1) for update in updates]
        batch = torch.stack(matrices) if len(matrices) > 1 else matrices[0]  # alone, a plain product is quicker
        orthogonal = _orthogonal(batch, options).view(len(parameters), *parameters[0].shape).unbind()
        if options["weight_decay"]:
            scale_(parameters, 1 - lr * options["weight_decay"])
        torch._foreach_add_(parameters, orthogonal, alpha=-lr * _adjust(parameters[0], options))


def _orthogonal(matrix: Tensor, options: Options) -> Tensor:
    return newton_schulz(
        matrix,
        steps=options["ns_steps"],
        coefficients=options["ns_coefficients"],
        eps=options["eps"],
        dtype=DTYPES[options["ns_dtype"]],
    ).contiguous()


def _adjust(parameter: Tensor, options: Options) -> float:
    rows, columns = len(parameter), parameter[0].numel()
    if options["adjust_lr_fn"] == "original":
        return math.sqrt(max(1, rows / columns))
    return 0.2 * math.sqrt(max(rows, columns))
