"""One update, many objectives: everything an optimizer step needs, in one object."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_lib.collectives import all_sum, world_size
from course_lib.loops.buffers import SavedBuffers
from course_lib.loops.loss import Batch, Loss, Objective, exact_dtype
from course_lib.loops.step import Health, Step

Gradients = Callable[[nn.Module, Objective, Sequence[Batch]], list[Loss]]
Parameters = list[nn.Parameter]


def backprop(model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
    """Leave in each parameter's ``.grad`` the gradient of the SUM of all micro-batches' losses; return the losses.

    This is the function that sharpness-aware minimisation, differentially private training or a pipeline
    schedule put another in the place of. It must not divide: `Run.step` does that, once.
    """
    losses = []
    for batch in micro_batches:
        loss = objective(model, batch)
        loss.total.backward()  # type: ignore[no-untyped-call]
        metrics = {name: value.detach() for name, value in loss.metrics.items()}
        losses.append(Loss(loss.total.detach(), loss.count, metrics))
    return losses


@dataclass(slots=True)
class Run:
    """A model on its way: one objective, one optimizer, and all the state of both.

    A GAN is two Runs and a ``for``; distillation is a Run whose objective asks a teacher.

    Args:
        model: What learns.
        objective: Turns ``(model, batch)`` into a `Loss`.
        optimizer: A torch optimizer over the parameters that are to change.
        max_grad_norm: The gradient is scaled down to this Euclidean norm when it is longer.
        gradients: How the gradient is computed; plain backpropagation by default.
        after_step: Called with this Run after each update (a moving average, a clamp); where checks are deferred, after
            an update that turns out to have been skipped as well.
        defer_checks: Whether to leave the verdict "finite or not" on the device and raise at the next
            ``Step.values()``. By default so on an accelerator whose optimizer can skip a step there (``fused=True``).
        index: How many updates have been made.

    Raises:
        ValueError: If the optimizer has nothing to change, ``max_grad_norm`` is not positive, or checks cannot be
            deferred with this optimizer.

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
    max_grad_norm: float = math.inf
    gradients: Gradients = backprop
    after_step: Sequence[Callable[[Run], None]] = ()
    defer_checks: bool | None = None
    index: int = 0
    _health: Health = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be positive (math.inf for none), got {self.max_grad_norm}.")
        if not any(parameter.requires_grad for parameter in self._parameters()):
            raise ValueError("this optimizer has no parameter that requires a gradient: there is nothing to train.")
        can_skip = bool(getattr(self.optimizer, "_step_supports_amp_scaling", False))
        if self.defer_checks and not can_skip:
            raise ValueError(
                "defer_checks=True needs an optimizer that can skip a step on the device: build it with fused=True."
            )
        if self.defer_checks is None:
            self.defer_checks = can_skip and self._parameters()[0].device.type != "cpu"
        self._health = Health(rewind=self._rewind, deferred=self.defer_checks)

    def step(self, *micro_batches: Batch) -> Step:
        """Update once on the gradient of all ``micro_batches`` together.

        The gradient is divided once, by all the targets of the step over micro-batches and ranks, so 4 x 8 rows
        give the same update as 1 x 32 rows even when rows have different numbers of targets.

        Raises:
            ValueError: If there is nothing to learn from, or the loss cannot be split.
            NonFiniteStep: Before parameters, the optimizer's state or buffers change. Where checks are deferred, not
                here but at the next ``Step.values()``; until then no step changes anything.
        """
        if not micro_batches:
            raise ValueError("step needs at least one batch, got none.")
        self.optimizer.zero_grad(set_to_none=True)  # first, not last: another Run may have left gradients here
        buffers = SavedBuffers(self.model)
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        try:
            total, count, sums = self._accumulate(micro_batches)
            divisor = _as_divisor(count, total)
            loss, metrics = total / divisor, {name: value / divisor for name, value in sums.items()}
            parameters, grad_norm = self._mean_gradient(divisor)
            skipped = self._verdict(learning_rate, loss, grad_norm)
        except BaseException:
            buffers.restore()
            raise
        if self.max_grad_norm < math.inf:
            nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, grad_norm)
        self._update(skipped)
        if skipped is not None:
            buffers.restore(skipped)
        self.index += 1
        for action in self.after_step:
            action(self)
        return Step(self.index, learning_rate, loss, grad_norm, count, metrics, self._health)

    def _accumulate(self, micro_batches: Sequence[Batch]) -> tuple[Tensor, int | Tensor, dict[str, Tensor]]:
        """Fill ``.grad`` with the gradient of the sum; return the sums of loss and metrics, and the count."""
        losses = self.gradients(self.model, self.objective, micro_batches)
        if len(losses) > 1:
            _check_addable(losses)
        count: int | Tensor = sum(1 if loss.count is None else loss.count for loss in losses)
        total = _sum([loss.total for loss in losses])
        sums = {name: _sum([loss.metrics[name] for loss in losses]) for name in losses[0].metrics}
        if world_size() > 1:
            total, count, sums = self._over_ranks(total, count, sums)
        if (isinstance(count, int) or not self.defer_checks) and int(count) == 0:
            raise ValueError(f"step {self.index} has no targets in {len(losses)} batches: every label is masked.")
        return total, count, sums

    def _over_ranks(
        self, total: Tensor, count: int | Tensor, sums: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Add up all ranks' sums in one small message, then their gradients."""
        parameters = [parameter for parameter in self._parameters() if parameter.requires_grad]
        has_gradient = [parameter.grad is not None for parameter in parameters]
        device, dtype = total.device, exact_dtype(total.device)
        numbers = torch.stack([value.to(device, dtype) for value in (total, torch.as_tensor(count), *sums.values())])
        small = torch.cat([numbers, torch.tensor(has_gradient, dtype=dtype, device=device)])
        all_sum([small])
        summed = small[: len(numbers)]
        if not all(has_gradient):  # only then does it matter what the others have, and reading waits for the device
            has_gradient = small[len(numbers) :].bool().tolist()
        used = [parameter for parameter, owned in zip(parameters, has_gradient, strict=True) if owned]
        for parameter in used:
            if parameter.grad is None:  # another rank has one: the message must have the same shape everywhere
                parameter.grad = torch.zeros_like(parameter)
        all_sum([parameter.grad for parameter in used if parameter.grad is not None])
        return summed[0].to(total.dtype), summed[1].long(), dict(zip(sums, summed[2:], strict=True))

    def _mean_gradient(self, divisor: Tensor) -> tuple[Parameters, Tensor]:
        """Turn summed gradients into mean gradients; return their owners and their Euclidean norm."""
        parameters = [parameter for parameter in self._parameters() if parameter.grad is not None]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            raise ValueError("no parameter of the optimizer got a gradient: does the loss depend on them?")
        torch._foreach_div_(gradients, divisor)
        return parameters, nn.utils.get_total_norm(gradients)

    def _verdict(self, learning_rate: float, loss: Tensor, grad_norm: Tensor) -> Tensor | None:
        """Raise if this step is not finite; or, when checks are deferred, return that verdict unread."""
        self._health.note(self.index, learning_rate, grad_norm)
        if self.defer_checks and not self._creates_momentum():
            return self._health.judge(self.index, loss, grad_norm)
        self._health.check()
        if not (math.isfinite(loss.item()) and math.isfinite(grad_norm.item())):
            raise self._health.failure(self.index, loss)
        return None

    def _creates_momentum(self) -> bool:
        """Whether SGD makes its momentum in this step: torch's fused one leaves it uninitialised if it is skipped."""
        return any(
            group.get("momentum") and parameter.grad is not None and parameter not in self.optimizer.state
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        )

    def _update(self, skipped: Tensor | None) -> None:
        """Step the optimizer, or have it step unless ``skipped`` turns out to be true on the device."""
        if skipped is None:
            self.optimizer.step()
            return
        optimizer: torch.optim.Optimizer = self.optimizer
        optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]  # the protocol of torch.amp.GradScaler
        try:
            optimizer.step()
        finally:
            del optimizer.found_inf  # type: ignore[attr-defined]

    def _parameters(self) -> Parameters:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _rewind(self, index: int) -> None:
        self.index = index


def _as_divisor(count: int | Tensor, total: Tensor) -> Tensor:
    """The count as a tensor: dividing by one is several times quicker than by a Python number."""
    dtype = torch.promote_types(total.dtype, torch.float32)  # bfloat16 would round the count
    return count.to(dtype) if isinstance(count, Tensor) else torch.full((), count, dtype=dtype, device=total.device)


def _check_addable(losses: Sequence[Loss]) -> None:
    if any(loss.count is None for loss in losses):
        raise ValueError(
            f"this objective compares the rows of its batch, so it cannot be split into {len(losses)} "
            "micro-batches: use one larger batch, or gather the rows first."
        )
    if len({frozenset(loss.metrics) for loss in losses}) > 1:
        raise ValueError(f"micro-batches returned different metrics: {[sorted(loss.metrics) for loss in losses]}.")


def _sum(numbers: list[Tensor]) -> Tensor:
    return numbers[0] if len(numbers) == 1 else torch.stack(numbers).sum()
