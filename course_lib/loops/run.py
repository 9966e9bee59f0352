"""One update, many objectives: everything an optimizer step needs, in one object that can be saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.loops.backprop import Gradients, backprop
from course_lib.loops.buffers import SavedBuffers
from course_lib.loops.ema import EMA
from course_lib.loops.loss import Batch, Objective, added
from course_lib.loops.over_ranks import OF_THE_RUN_ALONE, OverRanks, add_over_ranks
from course_lib.loops.precision import LossScaler, Precision, check_precision, in_precision
from course_lib.loops.rates import remember_rates, set_rates
from course_lib.loops.run_state import load_run_state, run_state
from course_lib.loops.step import Health, Step

Parameters = list[nn.Parameter]


@dataclass(slots=True, eq=False)
class Run:
    """A model on its way: one objective, one optimizer, and all the state of both.

    A GAN is two Runs and a ``for``; distillation is a Run whose objective asks a teacher.

    Args:
        model: What learns.
        objective: Turns ``(model, batch)`` into a `Loss`.
        optimizer: A torch optimizer over the parameters that are to change.
        schedule: A plain function of the step, 0 for the first: the learning rate of each parameter group is its own
            initial one times this factor. Constant by default.
        precision: ``"bf16"`` and ``"fp16"`` compute the forward pass under autocast; fp16 scales the loss besides,
            and skips a step that overflows.
        ema: A moving average of the weights, updated after each step.
        max_grad_norm: The gradient is scaled down to this Euclidean norm when it is longer.
        gradients: How the gradient is computed; plain backpropagation by default. A function that shares the work among
            ranks in a way of its own carries an attribute ``over_ranks`` (see `OverRanks`).
        after_step: Called with this Run after each update (a target network, a clamp), not after a skipped one.
            Where checks are deferred, after an update that turns out to have been skipped as well.
        generators: Those that the objective or the model draws from, to be saved with the rest.
        defer_checks: Whether to leave the verdict "finite or not" on the device and raise at the next
            ``Step.values()``. By default so on an accelerator whose optimizer can skip a step there (``fused=True``)
            if there is nothing to call after a step.
        index: How many steps have been made, those that an fp16 overflow skipped included.
        consumed: How many micro-batches they took: where to go on in the stream.

    Raises:
        ValueError: If the optimizer has nothing to change, ``max_grad_norm`` is not positive, the precision does not
            fit the model, or checks cannot be deferred with this optimizer.

    Example:
        >>> from course_lib.loops import classification
        >>> model = nn.Linear(4, 3)
        >>> run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> step = run.step((torch.ones(2, 4), torch.tensor([0, 2])))
        >>> step.index, step.count, sorted(step.values())
        (1, 2, ['accuracy', 'grad_norm', 'loss'])
    """

    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    _: KW_ONLY
    schedule: Callable[[int], float] | None = None
    precision: Precision = "fp32"
    ema: EMA | None = None
    max_grad_norm: float = math.inf
    gradients: Gradients = backprop
    after_step: Sequence[Callable[[Run], None]] = ()
    generators: Sequence[torch.Generator] = ()
    defer_checks: bool | None = None
    index: int = 0
    consumed: int = 0
    scaler: LossScaler | None = field(init=False, default=None)
    _health: Health = field(init=False, repr=False)
    _checked: OverRanks | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be positive (math.inf for none), got {self.max_grad_norm}.")
        if not any(parameter.requires_grad for parameter in self._parameters()):
            raise ValueError("this optimizer has no parameter that requires a gradient: there is nothing to train.")
        check_precision(self.precision, self._parameters())
        remember_rates(self.optimizer)
        if self.precision == "fp16":
            self.scaler = LossScaler(torch.tensor(2.0**16, device=self.device))
        can_skip = self._knows_scaling()
        if self.defer_checks and not can_skip:
            raise ValueError(
                "defer_checks=True needs an optimizer that can skip a step on the device: build it with fused=True."
            )
        if self.defer_checks is None:
            self.defer_checks = can_skip and self.device.type != "cpu" and not self.after_step
        self._health = Health(rewind=self._rewind, deferred=self.defer_checks)
        _ = self.over_ranks  # refuses what it cannot do

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._parameters()[0].device

    @property
    def over_ranks(self) -> OverRanks:
        """What ``gradients`` says about ranks; asked in every step, for it may be exchanged.

        Raises:
            ValueError: If it cannot do what this run asks for.
        """
        found: OverRanks = getattr(self.gradients, "over_ranks", OF_THE_RUN_ALONE)
        if found is not self._checked:
            found.check(self)
            self._checked = found
        return found

    def step(self, *micro_batches: Batch) -> Step:
        """Update once on the gradient of all ``micro_batches`` together.

        The gradient is divided once, by all the targets of the step over micro-batches and ranks, so 4 x 8 rows
        give the same update as 1 x 32 rows even when rows have different numbers of targets.

        Raises:
            ValueError: If there is nothing to learn from, or the loss cannot be split.
            NonFiniteStep: Before parameters, the optimizer's state or buffers change. Where checks are deferred, not
                here but at the next ``Step.values()``; until then no step changes anything. Under fp16 a gradient
                that overflows is no such failure until the loss scale is down to 1.
        """
        if not micro_batches:
            raise ValueError("step needs at least one batch, got none.")
        self.optimizer.zero_grad(set_to_none=True)  # first, not last: another Run may have left gradients here
        buffers = SavedBuffers(self.model, self.objective)
        if self.schedule is not None:
            set_rates(self.optimizer, self.schedule, self.index)
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        try:
            total, count, sums = self._accumulate(micro_batches)
            divisor = _as_divisor(count, total)
            metrics = {name: value / divisor for name, value in sums.items()}
            scale = None if self.scaler is None else self.scaler.scale
            if self.scaler is not None:
                divisor = divisor * self.scaler.factor()
            learnt, loss = self._with_gradient(), total / divisor
            if self.over_ranks.averaged:
                divisor = divisor / world_size(self.over_ranks.group)  # gradients are that much smaller already
            grad_norm = self.over_ranks.norm(learnt) / divisor
            self._health.note(self.index, self.consumed, learning_rate, grad_norm)
            skipped = self._verdict(loss, grad_norm)
        except BaseException:
            buffers.restore()
            raise
        if self.max_grad_norm < math.inf:
            divisor = divisor / (self.max_grad_norm / (grad_norm + 1e-6)).clamp(max=1.0)  # torch's clipping, same pass
        leave_it = self._optimizer_divides(divisor)
        if not leave_it:
            torch._foreach_div_([parameter.grad for parameter in learnt if parameter.grad is not None], divisor)
        self._update(skipped, divisor if leave_it else None)
        if skipped is not False:
            buffers.restore(None if skipped is True else skipped)
        self.index += 1
        self.consumed += len(micro_batches)
        if skipped is not True:
            self._after_update(None if skipped is False else skipped)
        return Step(self.index, learning_rate, loss, grad_norm, count, metrics, self._health, skipped, scale)

    def _accumulate(self, micro_batches: Sequence[Batch]) -> tuple[Tensor, int | Tensor, dict[str, Tensor]]:
        """Fill ``.grad`` with the gradient of the sum; return the sums of loss and metrics, and the count."""
        objective = in_precision(self.objective, self.precision, self.device)
        if self.scaler is not None:
            objective = self.scaler.scaled(objective)
        loss = added(self.gradients(self.model, objective, micro_batches))
        over = self.over_ranks
        if world_size(over.group) > 1 and not over.counted:
            unsummed = [] if over.summed else [parameter for parameter in self._parameters() if parameter.requires_grad]
            loss = add_over_ranks(unsummed, loss, over.group)
        count = 1 if loss.count is None else loss.count
        if (isinstance(count, int) or not self.defer_checks) and int(count) == 0:
            raise ValueError(
                f"step {self.index} has no targets in {len(micro_batches)} batches: every label is masked."
            )
        return loss.total, count, loss.metrics

    def _with_gradient(self) -> Parameters:
        learnt = [parameter for parameter in self._parameters() if parameter.grad is not None]
        if not learnt:
            raise ValueError("no parameter of the optimizer got a gradient: does the loss depend on them?")
        return learnt

    def _verdict(self, loss: Tensor, grad_norm: Tensor) -> bool | Tensor:
        """Raise if this step is not finite; return whether to skip it, unread on the device if checks are deferred."""
        if self.defer_checks and not self._creates_momentum():
            return self._deferred_verdict(loss, grad_norm)
        self._health.check()
        finite = math.isfinite(grad_norm.item())
        overflow = self.scaler is not None and not finite and float(self.scaler.scale) > 1
        if not (math.isfinite(loss.item()) and (finite or overflow)):
            raise self._health.failure(self.index, loss)
        if self.scaler is not None:
            self.scaler.update(torch.tensor(overflow, device=self.scaler.scale.device))
        return overflow

    def _deferred_verdict(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        bad = ~(loss.isfinite() & grad_norm.isfinite())
        if self.scaler is None:
            return self._health.judge(self.index, loss, bad)
        overflow = loss.isfinite() & ~grad_norm.isfinite() & (self.scaler.scale > 1)
        void = self._health.judge(self.index, loss, bad & ~overflow)
        self.scaler.update(overflow, void)
        return void | overflow

    def _creates_momentum(self) -> bool:
        """Whether SGD makes its momentum in this step: torch's fused one leaves it uninitialised if it is skipped."""
        return any(
            group.get("momentum") and parameter.grad is not None and parameter not in self.optimizer.state
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        )

    def _knows_scaling(self) -> bool:
        """Whether the optimizer follows the protocol of torch.amp.GradScaler: the fused ones do."""
        return bool(getattr(self.optimizer, "_step_supports_amp_scaling", False))

    def _optimizer_divides(self, divisor: Tensor) -> bool:
        """Whether the optimizer divides the gradients in its own pass over them, which saves one; to the same bits.

        Its kernels want a float32 divisor. A hook before the step may read gradients, so it shall find them divided.
        """
        hooks = self.optimizer._optimizer_step_pre_hooks
        return self._knows_scaling() and divisor.dtype == torch.float32 and not hooks

    def _update(self, skipped: bool | Tensor, divisor: Tensor | None) -> None:
        """Step the optimizer, or not; or have it step unless ``skipped`` turns out to be true on the device."""
        if skipped is True:
            return
        told: dict[str, Tensor] = {} if divisor is None else {"grad_scale": divisor}
        if isinstance(skipped, Tensor):
            told["found_inf"] = skipped.float()
        for name, value in told.items():
            setattr(self.optimizer, name, value)
        try:
            self.optimizer.step()
        finally:
            for name in told:
                delattr(self.optimizer, name)

    def _after_update(self, skipped: Tensor | None) -> None:
        if self.ema is not None:
            self.ema.update(self.model, skipped)
        for action in self.after_step:
            action(self)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on, as nested dictionaries of tensors and plain values; see `run_state`."""
        return run_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; see `load_run_state` for what is refused and what is warned about."""
        load_run_state(self, state)

    def _parameters(self) -> Parameters:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _rewind(self, index: int, consumed: int) -> None:
        self.index, self.consumed = index, consumed


def _as_divisor(count: int | Tensor, total: Tensor) -> Tensor:
    """The count as a tensor: dividing by one is several times quicker than by a Python number."""
    dtype = torch.promote_types(total.dtype, torch.float32)  # bfloat16 would round the count
    return count.to(dtype) if isinstance(count, Tensor) else torch.full((), count, dtype=dtype, device=total.device)
