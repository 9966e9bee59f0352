"""What one update did, and the verdict on whether it could be done at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_lib.loops.loss import exact_dtype

KEPT_NORMS = 5  # gradient norms that a failure message recalls
UNREAD = 1000  # steps after which a deferred verdict is read even if nobody asks


class NonFiniteStep(RuntimeError):
    """The loss or the gradient norm was nan or inf; parameters and buffers are those of the step before."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a failure message will want to know of one step."""

    index: int
    consumed: int  # micro-batches taken before it
    learning_rate: float
    grad_norm: Tensor


@dataclass(slots=True)
class Health:
    """Remembers what the last steps looked like, and the first bad one until somebody reads it.

    On the CPU the verdict is read at once. On an accelerator reading waits for the device, so the verdict
    stays there as a number, steps after a bad one change nothing, and the next read raises.
    """

    rewind: Callable[[int, int], None]  # told where the run stood before the bad step, which was not made
    deferred: bool = False
    first_bad: Tensor | None = None  # index of the first bad step, -1 while there is none; None before the first step
    bad_loss: Tensor | None = None
    recent: deque[Note] = field(init=False)

    def __post_init__(self) -> None:
        # Read at once, the last few norms will do; read late, those before the bad step must still be there.
        self.recent = deque(maxlen=UNREAD if self.deferred else KEPT_NORMS)

    def note(self, index: int, consumed: int, learning_rate: float, grad_norm: Tensor) -> None:
        """Remember one step for a message that may come later."""
        if self.deferred and len(self.recent) == UNREAD:
            self.check()
            while len(self.recent) > KEPT_NORMS:
                self.recent.popleft()
        self.recent.append(Note(index, consumed, learning_rate, grad_norm))

    def judge(self, index: int, loss: Tensor, bad: Tensor) -> Tensor:
        """Take in the verdict on one step; return, still on the device, whether it or one before it was ``bad``."""
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
        consumed = next(note.consumed for note in self.recent if note.index == index)
        self.recent.clear()
        self.rewind(index, consumed)
        raise failure

    def forget(self) -> None:
        """Start anew: the run was given another state."""
        self.first_bad = None
        self.recent.clear()

    def failure(self, index: int, loss: Tensor) -> NonFiniteStep:
        """Say what happened at step ``index``, and what to do."""
        known = [note for note in self.recent if note.index <= index][-KEPT_NORMS:]
        norms = ", ".join(f"{float(note.grad_norm):.3g}" for note in known)
        return NonFiniteStep(
            f"step {index}: loss {float(loss):.4g}, learning rate {known[-1].learning_rate:.3g}, last gradient norms "
            f"{norms}. The optimizer was not stepped: parameters and buffers are those of the step before. Lower the "
            "learning rate, clip the gradient, or look at this batch."
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
        skipped: Whether an fp16 overflow made this step a step on the spot: nothing changed but the loss scale.
        loss_scale: What the mean loss was multiplied by, under fp16; None otherwise.
    """

    index: int
    learning_rate: float
    loss: Tensor
    grad_norm: Tensor
    count: int | Tensor
    metrics: dict[str, Tensor]
    health: Health = field(repr=False)
    skipped: bool | Tensor = False
    loss_scale: Tensor | None = None

    def values(self) -> dict[str, float]:
        """Read ``loss``, ``grad_norm`` and every metric as floats; on an accelerator this waits for the device.

        Under fp16 ``loss_scale`` and ``skipped`` (0 or 1) come with them.

        Raises:
            NonFiniteStep: If this step, or one since the last read, was not finite (it was skipped).
        """
        self.health.check()
        named = {"loss": self.loss, "grad_norm": self.grad_norm, **self.metrics}
        if self.loss_scale is not None:
            named |= {"loss_scale": self.loss_scale, "skipped": torch.as_tensor(self.skipped)}
        device, dtype = self.loss.device, exact_dtype(self.loss.device)
        numbers = torch.stack([value.to(device, dtype) for value in named.values()])
        return dict(zip(named, numbers.tolist(), strict=True))
