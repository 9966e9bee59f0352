"""Adafactor: the mean square of a matrix's gradient, kept as one number a row and one a column."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.foreach import ForeachOptimizer, Options, State, check_number, scale_


class Adafactor(ForeachOptimizer):
    """RMSProp that remembers next to nothing: for a matrix of n rows and m columns n + m numbers, not n * m.

    With gradient G, parameter theta, step t = 1, 2, ..., rate eta, rms(x) the root of the mean of x^2::

        theta = theta - eta * weight_decay * theta
        beta  = 1 - t ** beta2_decay                                      0 at the first step: no bias correction needed
        r     = beta * r + (1 - beta) * (mean of G^2 along each row)
        c     = beta * c + (1 - beta) * (mean of G^2 along each column)
        V     = r c^T / max(mean(r), eps1)                                for a vector V itself is kept
        U     = G / max(sqrt(V), eps1)
        theta = theta - max(eps2, rms(theta before decay)) * min(eta, 1 / sqrt(t)) * U / max(1, rms(U) / d)

    So steps are relative to the size of the parameter, and an update far longer than expected is cut to rms d.

    Conventions, as in `torch.optim.Adafactor`: ``lr`` is the ceiling of the relative step size and multiplies the
    decay; the paper has no rate, a ceiling of 0.01 and no decay. ``eps1`` holds up the divisors; in the paper 1e-30 is
    added to G^2. Means stand for the paper's sums, which changes nothing. There is no momentum. Of a tensor with more
    than two dimensions the last two are factored, which for a convolution's (out, in, height, width) saves little.

    Args:
        params: Parameters, or param groups with options of their own.
        lr: Ceiling of the relative step size.
        beta2_decay: How fast beta goes to 1; at most 0.
        eps: ``(eps1, eps2)``; eps1 None is the machine epsilon of the parameter's dtype.
        d: Largest root mean square of an update before it is scaled; at least 1.
        weight_decay: Strength of the decoupled decay.
        foreach: Whether to update parameters list by list; both ways give the same bits on the CPU.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> theta = torch.full((2, 3), 4.0, requires_grad=True)
        >>> optimizer = Adafactor([theta], lr=0.01)
        >>> theta.grad = torch.full((2, 3), 123.0)
        >>> optimizer.step()
        >>> round(theta[0, 0].item(), 4)  # one hundredth of its size, whatever the gradient's is
        3.96

    Reference: Shazeer & Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost", Algorithms 4 to 6,
    https://arxiv.org/abs/1804.04235
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        *,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        options = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d}
        super().__init__(params, {**options, "weight_decay": weight_decay, "foreach": foreach})

    def _check_options(self, options: Options) -> None:
        eps = options["eps"]
        if not isinstance(eps, list) or len(eps) != 2:
            raise ValueError(f"Adafactor: eps must be two numbers, got {eps!r}; usual is (None, 1e-3).")
        if eps[0] is not None:
            check_number("Adafactor: eps[0]", eps[0], usual="None")
        check_number("Adafactor: eps[1]", eps[1], usual="1e-3")
        if not -math.inf < options["beta2_decay"] <= 0:
            raise ValueError(f"Adafactor: beta2_decay must be <= 0, got {options['beta2_decay']!r}; usual is -0.8.")
        if not 1 <= options["d"] < math.inf:
            raise ValueError(f"Adafactor: d must be >= 1, got {options['d']!r}; usual is 1.")

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        if parameter.ndim < 2:
            return {"step": 0, "variance": torch.zeros_like(parameter)}
        rows, columns = parameter[..., :1], parameter[..., :1, :]
        return {"step": 0, "row_var": torch.zeros_like(rows), "col_var": torch.zeros_like(columns)}

    def _alike(self, parameter: Tensor, state: State) -> Hashable:
        return state["step"], parameter.ndim > 1

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        lr, eps1, eps2 = options["lr"], _first_epsilon(options, parameter), options["eps"][1]
        state["step"] = step = state["step"] + 1
        share = step ** options["beta2_decay"]  # 1 - beta
        size = _rms(parameter).clamp_(min=eps2)
        parameter.mul_(1 - lr * options["weight_decay"])
        square = gradient.square()
        if parameter.ndim > 1:
            row = state["row_var"].lerp_(square.mean(-1, keepdim=True), share)
            column = state["col_var"].lerp_(square.mean(-2, keepdim=True), share)
            variance = row * column / row.mean(-2, keepdim=True).clamp_(min=eps1)
        else:
            variance = state["variance"].lerp_(square, share).clone()
        update = gradient / variance.sqrt_().clamp_(min=eps1)
        size.div_((_rms(update) / options["d"]).clamp_(min=1))
        parameter.add_(update.mul_(size), alpha=-min(lr, 1 / math.sqrt(step)))

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        lr, eps1, eps2 = options["lr"], _first_epsilon(options, parameters[0]), options["eps"][1]
        step = states[0]["step"] + 1
        for state in states:
            state["step"] = step
        share = step ** options["beta2_decay"]
        sizes = _rms_of_each(parameters).clamp_(min=eps2)
        if options["weight_decay"]:
            scale_(parameters, 1 - lr * options["weight_decay"])
        squares = torch._foreach_mul(gradients, gradients)
        if parameters[0].ndim > 1:
            rows, columns = [state["row_var"] for state in states], [state["col_var"] for state in states]
            torch._foreach_lerp_(rows, [square.mean(-1, keepdim=True) for square in squares], share)
            torch._foreach_lerp_(columns, [square.mean(-2, keepdim=True) for square in squares], share)
            roots = [
                torch.mul(row, column, out=square)  # one large buffer each: the squares are not needed any more
                for row, column, square in zip(rows, columns, squares, strict=True)
            ]
            torch._foreach_div_(roots, [row.mean(-2, keepdim=True).clamp_(min=eps1) for row in rows])
            torch._foreach_sqrt_(roots)
        else:
            variances = [state["variance"] for state in states]
            torch._foreach_lerp_(variances, squares, share)
            roots = list(torch._foreach_sqrt(variances))
        torch._foreach_clamp_min_(roots, eps1)
        updates = [torch.div(gradient, root, out=root) for gradient, root in zip(gradients, roots, strict=True)]
        sizes.div_((_rms_of_each(updates) / options["d"]).clamp_(min=1))
        torch._foreach_mul_(updates, sizes.unbind())
        torch._foreach_add_(parameters, updates, alpha=-min(lr, 1 / math.sqrt(step)))


def _first_epsilon(options: Options, parameter: Tensor) -> float:
    eps1 = options["eps"][0]
    return torch.finfo(parameter.dtype).eps if eps1 is None else float(eps1)


def _rms(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(values)
    return length / math.sqrt(values.numel())


def _rms_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """Return ``_rms`` of all in one vector, so that what is done to it is done once; nobody reads it on the way."""
    lengths = torch._foreach_norm(list(tensors))
    torch._foreach_div_(lengths, [math.sqrt(tensor.numel()) for tensor in tensors])
    return torch.stack(lengths)
