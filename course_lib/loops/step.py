"""What one update did, and the verdict on whether it could be done at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_lib.loops.loss import exact_dtype

KEPT_NORMS = 5  # gradient norms that a failure message recalls


class NonFiniteStep(RuntimeError):
    """The loss or the gradient norm was nan or inf; parameters and buffers are those of the step before."""


@dataclass(slots=True)
class Health:
    """Remembers what the last steps looked like, and the first bad one until somebody reads it.

    On the CPU the verdict is read at once. On an accelerator reading waits for the device, so the verdict
    stays there as a number, steps after a bad one change nothing, and the next read raises.
    """

    rewind: Callable[[int], None]  # told the index of the bad step, which was not made
    deferred: bool = False
    first_bad: Tensor | None = None  # index of the first bad step, -1 while there is none; None before the first step
    bad_loss: Tensor | None = None
    recent: deque[tuple[int, float, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        # Read at once, the last few norms will do; read late, those before the bad step must still be there.
        self.recent = deque(maxlen=1000 if self.deferred else KEPT_NORMS)

    def note(self, index: int, learning_rate: float, grad_norm: Tensor) -> None:
        """Remember one step for a message that may come later."""
        self.recent.append((index, learning_rate, grad_norm))

    def judge(self, index: int, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Return, still on the device, whether this step must be skipped."""
        bad = ~(loss.isfinite() & grad_norm.isfinite())
        if self.first_bad is None or self.bad_loss is None:
            self.first_bad, self.bad_loss = torch.full_like(bad, -1, dtype=torch.int64), loss
        first = (self.first_bad < 0) & bad
        self.first_bad = torch.where(first, index, self.first_bad)
        self.bad_loss = torch.where(first, loss, self.bad_loss)
        return self.first_bad >= 0

    def check(self) -> None:
        """Read the verdict and raise `NonFiniteStep` if a step since the last read was bad."""
        if self.first_bad is None or self.bad_loss is None or (index := int(self.first_bad)) < 0:
            return
        failure = self.failure(index, self.bad_loss)
        self.first_bad = None
        self.recent.clear()
        self.rewind(index)
        raise failure

    def failure(self, index: int, loss: Tensor) -> NonFiniteStep:
        """Say what happened at step ``index``, and what to do."""
        known = [(rate, float(norm)) for at, rate, norm in self.recent if at <= index][-KEPT_NORMS:]
        rate = f"{known[-1][0]:.3g}" if known else "unknown"
        norms = ", ".join(f"{norm:.3g}" for _, norm in known) or "unknown"
        return NonFiniteStep(
            f"step {index}: loss {float(loss):.4g}, learning rate {rate}, last gradient norms {norms}. The optimizer "
            "was not stepped: parameters and buffers are those of the step before. Lower the learning rate, clip the "
            "gradient, or look at this batch."
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What one update did. Tensors stay on the device until somebody reads them.

    Args:
        index: How many updates the run has made, this one included.
        learning_rate: That of the first parameter group.
        loss: Mean over all targets of the step, as a scalar tensor.
        grad_norm: Euclidean norm of the whole gradient before clipping, as a scalar tensor.
        count: Targets in the step, over micro-batches and ranks.
        metrics: Means over the same targets.
        health: The run's verdicts, read by `values`.
    """

    index: int
    learning_rate: float
    loss: Tensor
    grad_norm: Tensor
    count: int | Tensor
    metrics: dict[str, Tensor]
    health: Health = field(repr=False)

    def values(self) -> dict[str, float]:
        """Read ``loss``, ``grad_norm`` and every metric as floats; on an accelerator this waits for the device.

        Raises:
            NonFiniteStep: If this step, or one since the last read, was not finite (it was skipped).
        """
        self.health.check()
        named = {"loss": self.loss, "grad_norm": self.grad_norm, **self.metrics}
        device, dtype = self.loss.device, exact_dtype(self.loss.device)
        numbers = torch.stack([value.to(device, dtype) for value in named.values()])
        return dict(zip(named, numbers.tolist(), strict=True))
