"""AdaScale: as much learning rate as the gradient's noise allows, measured step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from course_lib.distributed.large_batches.measured_gradients import MeasuredGradients
from course_lib.distributed.large_batches.noise_scale import NoiseScale

if TYPE_CHECKING:
    from course_lib.loops import Run


def gain(estimate: NoiseScale, *, batch_size: float, scale: float) -> float:
    """Return by how much a step on ``scale`` batches at once is worth more than one on a single batch.

    ``(sigma^2 + mu^2) / (sigma^2 / S + mu^2)``, with sigma^2 the variance of the small batch's gradient and mu^2 the
    squared length of the true one. Where noise dominates, S batches are worth S steps; where it is gone, one. Estimates
    that come out negative count as 0 (the paper does so too, but step by step, before it averages).

    Args:
        estimate: Of noise and signal.
        batch_size: Targets of the small batch that the learning rate was tuned for.
        scale: S, how many of them make the large batch.

    Returns:
        1 to ``scale``.

    Raises:
        ValueError: If the batch is empty or the scale below 1.

    Example:
        >>> [round(gain(NoiseScale(noise, 1.0), batch_size=1, scale=8), 4) for noise in (0.0, 1e9)]
        [1.0, 8.0]
        >>> gain(NoiseScale(8.0, 1.0), batch_size=8, scale=4)  # as much noise as signal in the small batch
        1.6

    Reference: Johnson, Agrawal, Gu and Guestrin 2020, "AdaScale SGD: a user-friendly algorithm for distributed
    training", section 3 and appendix B.3, https://arxiv.org/abs/2007.05105
    """
    if not batch_size > 0 or not scale >= 1:
        raise ValueError(f"expected a positive batch size and a scale of at least 1, got {batch_size} and {scale}.")
    variance, square = max(estimate.noise / batch_size, 0.0), max(estimate.signal, 0.0)
    if variance == 0:
        return 1.0
    return (variance + square) / (variance / scale + square)


class AdaScale:
    """The parts of a `Run` that make it follow AdaScale: gradients that are measured, a schedule, and an action.

    A schedule that was tuned for a small batch is followed in *small-batch steps*: each large step multiplies the rate
    by the gain and counts as gain many small ones. So it warms up by itself where gradients agree, and ends by itself
    when as much has been learnt as the small batches would have: `finished`.

    Made for SGD, with or without momentum; Adam divides the gradient's length out, and the rate's rule is another.
    The gain of a step is that of the averages up to the step before, as a rate is set before a gradient is known (the
    paper takes this step's in). The first step has gain 1.

    Args:
        schedule: Of the small-batch run: a function of its step, as `Run` takes one.
        small_steps: Steps of the small-batch run.
        scale: How many small batches make a large one.
        group: Ranks that see different rows; all by default.

    Raises:
        ValueError: If a number is not positive; while training, if a step has one part only, which shows no noise.

    Example:
        >>> import torch
        >>> from course_lib.loops import Run, regression
        >>> model, ada = torch.nn.Linear(3, 1), AdaScale(small_steps=100, scale=2)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> run = Run(model, regression, sgd, **ada.parts())
        >>> halves = [(torch.eye(3), torch.ones(3, 1)), (-torch.eye(3), torch.ones(3, 1))]
        >>> step = run.step(*halves)
        >>> ada.small_step, 1 <= ada.gain <= 2
        (1.0, True)

    Reference: Johnson et al. 2020, algorithm 1
    """

    def __init__(
        self,
        *,
        small_steps: float,
        scale: float,
        schedule: Callable[[int], float] | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if not small_steps > 0 or not 1 < scale < math.inf:
            raise ValueError(f"expected positive small_steps and a scale above 1, got {small_steps} and {scale}.")
        self.small_steps = small_steps
        self.scale = scale
        self.small_schedule = schedule
        self.small_step = 0.0
        self.gain = 1.0
        self.measured = MeasuredGradients(decay=max(1 - scale / 1000, 0.0), group=group)

    def parts(self) -> dict[str, Any]:
        """Return the keyword arguments for `Run`: ``gradients``, ``schedule`` and ``after_step``."""
        return {"gradients": self.measured, "schedule": self.schedule, "after_step": (self.after_step,)}

    def schedule(self, step: int) -> float:
        """Return the rate's factor for the next step; what counts is `small_step`, not the number of steps made."""
        factor = 1.0 if self.small_schedule is None else self.small_schedule(int(self.small_step))
        return self.gain * factor

    def after_step(self, run: Run) -> None:
        """Count the step that was made as its gain in small steps, and take the gain of the next."""
        if len(self.measured.sizes) < 2:
            raise ValueError(
                "the noise shows in differences between parts of a batch, and this step had one: give AdaScale's run "
                "two or more micro-batches a step, or two or more ranks."
            )
        self.small_step += self.gain
        if self.measured.average.num_estimates:
            count = sum(self.measured.sizes)
            self.gain = gain(self.measured.noise_scale, batch_size=count / self.scale, scale=self.scale)

    @property
    def finished(self) -> bool:
        """Whether as many small-batch steps have been made as the small-batch run has."""
        return self.small_step >= self.small_steps

    def state_dict(self) -> dict[str, float]:
        """Return what is needed to go on, besides the run's own state."""
        return {"small_step": self.small_step, "gain": self.gain, **self.measured.average.state_dict()}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what `state_dict` returned."""
        self.small_step, self.gain = state["small_step"], state["gain"]
        self.measured.average.load_state_dict(state)
