"""Following a learnt velocity from noise to data: Euler's straight steps, and Heun's, which look ahead."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from course_lib.diffusion.objectives import shifted_time
from course_lib.diffusion.samplers import Denoiser, Start, asking
from course_lib.diffusion.schedules import check_factor, check_num_steps

# Shape letters used in this file: N = samples, S = steps taken.


def flow_euler(
    velocity: Denoiser,
    start: Start,
    *,
    num_steps: int,
    generator: torch.Generator | None = None,
    shift: float = 1.0,
    path: bool = False,
) -> Tensor:
    """Go from noise (time 1) to data (time 0) in straight steps: ``x + (next - time) * velocity(x, time)``.

    Exact wherever the path is straight. One evaluation a step; the error falls as ``1 / num_steps``.

    Args:
        velocity: A model trained by `flow_matching`, or what `guided` makes of one; a module is asked in evaluation
            mode.
        start: The noise to start from, or its shape.
        num_steps: How many steps to take.
        generator: Draws the noise, on its device; needed if ``start`` is a shape.
        shift: Above 1 takes more of the steps where there is much noise, as `shifted_time` does.
        path: Whether to return all states on the way.

    Shape:
        - output: ``(N, ...)``, at least float32; with ``path`` ``(S + 1, N, ...)``, from noise to data

    Raises:
        ValueError: If ``num_steps`` is less than 1, ``shift`` is not positive, there is nothing to draw noise from, or
            a velocity has another shape than what was asked about.

    Example:
        >>> def to_three(x, time):  # the exact velocity for data that is always 3
        ...     return (x - 3) / time[:, None]
        >>> flow_euler(to_three, torch.tensor([[-1.0], [0.5]]), num_steps=1)
        tensor([[3.],
                [3.]])

    Reference: Liu, Gong and Liu 2022, Flow straight and fast, algorithm 1, https://arxiv.org/abs/2209.03003
    """
    times = sampling_times(num_steps, shift)
    with asking(velocity, start, generator) as (ask, x):
        states = [x]
        for time, following in pairwise(times):
            x = x + (following - time) * ask(x, time)
            states = [*states, x] if path else [x]
        return torch.stack(states) if path else x


def flow_heun(
    velocity: Denoiser,
    start: Start,
    *,
    num_steps: int,
    generator: torch.Generator | None = None,
    shift: float = 1.0,
    path: bool = False,
) -> Tensor:
    """Like `flow_euler`, but with the mean of the velocities at both ends of a step, the far end guessed by Euler.

    Two evaluations a step; the error falls as ``1 / num_steps^2``. To compare at one price, take half the steps. The
    last step looks ahead too, to time 0, where Karras et al. cannot (they divide by the noise) and take Euler's.

    Args:
        velocity: As for `flow_euler`.
        start: As for `flow_euler`.
        num_steps: How many steps to take; twice as many evaluations.
        generator: As for `flow_euler`.
        shift: As for `flow_euler`.
        path: As for `flow_euler`.

    Shape:
        - output: ``(N, ...)``, at least float32; with ``path`` ``(S + 1, N, ...)``, from noise to data

    Raises:
        ValueError: As for `flow_euler`.

    Example:
        >>> def growing(x, time):  # dx/dt = t: from 0.5 at time 1 to 0 at time 0
        ...     return time[:, None].expand_as(x)
        >>> flow_heun(growing, torch.tensor([[0.5]]), num_steps=1)
        tensor([[0.]])

    Reference: Karras, Aittala, Aila and Laine 2022, Elucidating the design space of diffusion-based generative models,
    algorithm 1, https://arxiv.org/abs/2206.00364
    """
    times = sampling_times(num_steps, shift)
    with asking(velocity, start, generator) as (ask, x):
        states = [x]
        for time, following in pairwise(times):
            here = ask(x, time)
            there = ask(x + (following - time) * here, following)
            x = x + (following - time) * (here + there) / 2
            states = [*states, x] if path else [x]
        return torch.stack(states) if path else x


def sampling_times(num_steps: int, shift: float = 1.0) -> list[float]:
    """Return ``num_steps + 1`` times from 1 down to 0, evenly spaced, then shifted as by `shifted_time`.

    Raises:
        ValueError: If ``num_steps`` is less than 1, or ``shift`` is not positive and finite.

    Example:
        >>> sampling_times(2), sampling_times(2, shift=3.0)
        ([1.0, 0.5, 0.0], [1.0, 0.75, 0.0])
    """
    check_num_steps(num_steps)
    check_factor("shift", shift)
    times = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
    return [float(time) for time in shifted_time(times, shift)]
