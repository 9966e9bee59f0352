"""Computing in 16 bits: autocast around the objective, and the loss scale that fp16 needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from course_lib.collectives import all_sum
from course_lib.loops.loss import Batch, Loss, Objective

Precision = Literal["fp32", "bf16", "fp16"]
LARGEST_SCALE = 2.0**32  # a loss that never overflows (none of it is in fp16) must not be scaled out of float32
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, parameters: Iterable[Tensor]) -> None:
    """Refuse a precision that does not exist, or fp16 weights, whose small updates would be rounded away.

    Raises:
        ValueError: Saying what to do.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}.")
    if precision == "fp16" and any(parameter.dtype == torch.float16 for parameter in parameters):
        raise ValueError(
            "fp16 training keeps its weights in float32 and computes in float16: do not call model.half(), leave the "
            "model in float32."
        )


def in_precision(objective: Objective, precision: Precision, device: torch.device) -> Objective:
    """Return ``objective`` with its forward pass under autocast; as it is for ``"fp32"``.

    Weights stay in float32. Matrix products and convolutions run in 16 bits, and so does their backward pass. Losses
    run in float32. Softmax, layer norm and vector norms do so on CUDA only: on the CPU they keep the dtype they get.

    Args:
        objective: Turns ``(model, batch)`` into a `Loss`.
        precision: ``"bf16"`` has float32's range and 8 bits of precision; ``"fp16"`` has 11 bits and a range that
            ends at 65,504 and at 6e-8, hence the loss scale.
        device: Where the model is.

    Example:
        >>> from course_lib.loops import regression
        >>> x, y = torch.tensor([[1.0], [257.0]]), torch.tensor([[1.0], [257.0]])
        >>> objective = in_precision(regression, "bf16", torch.device("cpu"))
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> objective(model, (x, y)).total.item()  # bf16 has no 257: it becomes 256
        1.0
    """
    if precision == "fp32":
        return objective

    def under_autocast(model: nn.Module, batch: Batch) -> Loss:
        with torch.autocast(device.type, DTYPES[precision]):
            return objective(model, batch)

    under_autocast.__wrapped__ = objective  # type: ignore[attr-defined]  # for inspect.unwrap
    return under_autocast


@dataclass(slots=True)
class LossScaler:
    """Multiplies the loss before the backward pass, so that small fp16 gradients do not become zero.

    An overflow halves the scale, ``growth_interval`` steps without one double it, as in `torch.amp.GradScaler`. The
    scale is that of the MEAN loss: objectives return sums, so the factor on a sum is ``scale / reference``, where
    ``reference`` is the number of targets of the first micro-batches seen, over all ranks, rounded to a power of two.
    All factors are powers of two, which no rounding touches.

    Args:
        scale: On the mean loss; a power of two.
        growth_interval: Steps without overflow after which the scale doubles.

    Raises:
        ValueError: If ``scale`` is no power of two of at least 1, or ``growth_interval`` is less than 1.

    Example:
        >>> scaler = LossScaler(torch.tensor(8.0), growth_interval=2)
        >>> for overflow in (True, False, False):
        ...     scaler.update(torch.tensor(overflow))
        ...     print(scaler.scale.item())
        4.0
        4.0
        8.0

    Reference: Micikevicius et al. 2018, *Mixed Precision Training*, section 3.2, https://arxiv.org/abs/1710.03740
    """

    scale: Tensor = field(default_factory=lambda: torch.tensor(2.0**16))
    growth_interval: int = 2000
    reference: float | None = None  # targets that the sum is divided by beforehand; None before the first batch
    good_steps: Tensor = field(init=False)

    def __post_init__(self) -> None:
        value = float(self.scale)
        if not (math.isfinite(value) and value >= 1 and math.frexp(value)[0] == 0.5):
            raise ValueError(f"the loss scale must be a power of two of at least 1, got {value}.")
        if self.growth_interval < 1:
            raise ValueError(f"growth_interval must be at least 1 step, got {self.growth_interval}.")
        self.good_steps = torch.zeros_like(self.scale, dtype=torch.int64)

    def scaled(self, objective: Objective) -> Objective:
        """Return ``objective`` with its total multiplied by `factor`."""

        def scaled_objective(model: nn.Module, batch: Batch) -> Loss:
            loss = objective(model, batch)
            self._look(loss)
            total = loss.total.to(
                torch.promote_types(loss.total.dtype, torch.float32)
            )  # fp16 would overflow right here
            return Loss(total * self.factor(), loss.count, loss.metrics)

        scaled_objective.__wrapped__ = objective  # type: ignore[attr-defined]  # for inspect.unwrap
        return scaled_objective

    def factor(self) -> Tensor:
        """Return what the summed loss is multiplied by, as a tensor on the device."""
        return self.scale / (self.reference or 1.0)

    def _look(self, loss: Loss) -> None:
        """Learn from the first loss how many targets there are about, alike on every rank."""
        if self.reference is None:
            count = torch.as_tensor(1 if loss.count is None else loss.count).to(loss.total.device, torch.float32)
            if loss.count is not None:
                all_sum([count])
            if (number := float(count)) > 0:  # a batch without targets says nothing
                self.reference = 2.0 ** round(math.log2(number))

    def update(self, overflow: Tensor, void: Tensor | None = None) -> None:
        """Halve the scale, but not below 1, after an ``overflow`` (a truth value); otherwise count towards doubling.

        Nothing changes if the truth value ``void`` is given and true: the step was not made at all.
        """
        good = torch.where(overflow, 0, self.good_steps + 1)
        grow = good >= self.growth_interval
        changed = torch.where(overflow, self.scale / 2, torch.where(grow, self.scale * 2, self.scale))
        changed, good = changed.clamp(1.0, LARGEST_SCALE), torch.where(grow, 0, good)
        if void is not None:
            changed, good = torch.where(void, self.scale, changed), torch.where(void, self.good_steps, good)
        self.scale, self.good_steps = changed, good

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {"scale": float(self.scale), "good_steps": int(self.good_steps), "reference": self.reference}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.scale.fill_(state["scale"])
        self.good_steps.fill_(state["good_steps"])
        self.reference = state["reference"]
