"""From noise to data step by step: the random walk of DDPM, and DDIM, which can take far larger steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from course_lib.diffusion.forward import check_rows
from course_lib.diffusion.predictions import Prediction, check_prediction, convert
from course_lib.diffusion.schedules import NoiseSchedule
from course_lib.nn.modes import evaluation_mode

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Called with ``(noisy, time)``, time ``(N,)`` from 0 to 1, returns a prediction of noisy's shape. A module is asked in
evaluation mode, and so is the model in `guided`; any other function is called as it is: dropout in it stays on."""
Ask = Callable[[Tensor, float], Tensor]
Start = Sequence[int] | Tensor
Variance = Literal["posterior", "beta"]

# Shape letters used in this file: N = samples, S = steps taken.


def ancestral(
    denoiser: Denoiser,
    start: Start,
    *,
    schedule: NoiseSchedule,
    generator: torch.Generator,
    num_steps: int | None = None,
    predict: Prediction = "epsilon",
    variance: Variance = "posterior",
    clip: float | None = None,
    path: bool = False,
) -> Tensor:
    """Sample as DDPM does: at each step guess the data, go back to the less noisy step between, add fresh noise.

    Fresh noise at every step corrects what earlier steps got wrong, but needs many small steps.

    Args:
        denoiser: A model, or what `guided` makes of one; a module is asked in evaluation mode.
        start: The noise to start from, or its shape.
        schedule: The one that it was trained with.
        generator: Draws the noise, on its device.
        num_steps: How many steps to take, evenly spaced; all of the schedule's by default.
        predict: What the denoiser was trained to predict.
        variance: Of the fresh noise: "posterior", that of the step before given both ends, right if the data were one
            point; "beta", right if the data were standard normal. With many steps they are nearly the same.
        clip: The guess at the data is kept within ``[-clip, clip]``; 1 for images. None: as it is.
        path: Whether to return all states on the way.

    Shape:
        - output: ``(N, ...)``, at least float32; with ``path`` ``(S + 1, N, ...)``, from noise to data

    Raises:
        ValueError: If an argument is out of its range, ``start`` is neither a shape nor noise, a prediction has another
            shape than what was asked about, or ``predict`` is "epsilon" and the schedule leaves nothing of the data.

    Example:
        >>> from course_lib.diffusion import linear_schedule
        >>> def one_point(x, time):  # the exact denoiser for data that is always 3
        ...     return torch.full_like(x, 3.0)
        >>> seed = torch.Generator().manual_seed(0)
        >>> ancestral(one_point, (2, 1), schedule=linear_schedule(100), generator=seed, predict="x0")
        tensor([[3.],
                [3.]])

    Reference: Ho, Jain and Abbeel 2020, Denoising diffusion probabilistic models, algorithm 2 and eq. 7,
    https://arxiv.org/abs/2006.11239; fewer steps: Nichol and Dhariwal 2021, eq. 19, https://arxiv.org/abs/2102.09672
    """
    if variance not in get_args(Variance):
        raise ValueError(f"variance must be 'posterior' or 'beta', got {variance!r}.")
    _check(schedule, predict, clip)
    _check_fresh_noise("ancestral", generator)
    steps = sampling_steps(schedule, schedule.num_steps if num_steps is None else num_steps)
    with asking(denoiser, start, generator) as (ask, x):
        states = [x]
        for t, before in pairwise(steps):
            clean = _guess(ask, x, t, schedule, predict, clip)
            now_bar, before_bar = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[before])
            alpha = now_bar / before_bar
            share = (1 - before_bar) / (1 - now_bar)  # of the noise that is there already one step before
            x = math.sqrt(before_bar) * (1 - alpha) / (1 - now_bar) * clean + math.sqrt(alpha) * share * x
            if before > 0:
                added = (1 - alpha) * (share if variance == "posterior" else 1.0)
                x = x + math.sqrt(added) * _fresh_noise(x, generator)
            states = [*states, x] if path else [x]
        return torch.stack(states) if path else x


def ddim(
    denoiser: Denoiser,
    start: Start,
    *,
    schedule: NoiseSchedule,
    num_steps: int,
    generator: torch.Generator | None = None,
    eta: float = 0.0,
    predict: Prediction = "epsilon",
    clip: float | None = None,
    path: bool = False,
) -> Tensor:
    """Sample as DDIM does: guess data and noise, and put the same two together again with less of the noise.

    Nothing random happens after the start, so the same noise gives the same sample, and far fewer steps do.

    Args:
        denoiser: A model, or what `guided` makes of one; a module is asked in evaluation mode.
        start: The noise to start from, or its shape.
        schedule: The one that it was trained with.
        num_steps: How many steps to take, evenly spaced.
        generator: Draws the noise, on its device; needed unless ``start`` is noise and ``eta`` 0.
        eta: How much fresh noise is added: none at 0, as much as `ancestral` with its posterior variance at 1.
        predict: What the denoiser was trained to predict.
        clip: The guess at the data is kept within ``[-clip, clip]``; 1 for images. None: as it is.
        path: Whether to return all states on the way.

    Shape:
        - output: ``(N, ...)``, at least float32; with ``path`` ``(S + 1, N, ...)``, from noise to data

    Raises:
        ValueError: As for `ancestral`, if ``eta`` is not from 0 to 1, or a generator is missing.

    Example:
        >>> from course_lib.diffusion import linear_schedule
        >>> def one_point(x, time):
        ...     return torch.full_like(x, 3.0)
        >>> ddim(one_point, torch.randn(2, 1), schedule=linear_schedule(), num_steps=5, predict="x0")
        tensor([[3.],
                [3.]])

    Reference: Song, Meng and Ermon 2020, Denoising diffusion implicit models, eq. 12 and 16,
    https://arxiv.org/abs/2010.02502; the steps: Lin et al. 2023, Common diffusion noise schedules and sample steps are
    flawed, table 2 ("trailing"), https://arxiv.org/abs/2305.08891
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be from 0 (nothing random) to 1 (as random as DDPM), got {eta}.")
    _check(schedule, predict, clip)
    if eta > 0:
        _check_fresh_noise(f"eta={eta}", generator)
    steps = sampling_steps(schedule, num_steps)
    with asking(denoiser, start, generator) as (ask, x):
        states = [x]
        for t, before in pairwise(steps):
            clean = _guess(ask, x, t, schedule, predict, clip)
            now_bar, before_bar = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[before])
            epsilon = (x - math.sqrt(now_bar) * clean) / math.sqrt(1 - now_bar)
            fresh = eta**2 * (1 - before_bar) / (1 - now_bar) * (1 - now_bar / before_bar)  # its variance
            x = math.sqrt(before_bar) * clean + math.sqrt(max(1 - before_bar - fresh, 0.0)) * epsilon
            if fresh > 0:
                x = x + math.sqrt(fresh) * _fresh_noise(x, generator)
            states = [*states, x] if path else [x]
        return torch.stack(states) if path else x


def sampling_steps(schedule: NoiseSchedule, num_steps: int) -> list[int]:
    """Return ``num_steps + 1`` steps from the noisiest down to 0, evenly spaced and rounded.

    It always begins at the very end, where all is noise as at the start of sampling: "trailing" in Lin et al.

    Args:
        schedule: Whose steps.
        num_steps: How many to take.

    Raises:
        ValueError: If there are not so many, or less than one is wanted.

    Example:
        >>> from course_lib.diffusion import linear_schedule
        >>> sampling_steps(linear_schedule(1000), 4)
        [1000, 750, 500, 250, 0]
    """
    if not 1 <= num_steps <= schedule.num_steps:
        raise ValueError(f"num_steps must be from 1 to the schedule's {schedule.num_steps}, got {num_steps}.")
    return [round(schedule.num_steps * (num_steps - step) / num_steps) for step in range(num_steps + 1)]


def starting_noise(start: Start, generator: torch.Generator | None) -> Tensor:
    """Return ``start`` if it is noise already, or else standard normal noise of that shape.

    Args:
        start: Noise, or a shape.
        generator: Draws it, float32 on its device.

    Raises:
        ValueError: If ``start`` is a shape and there is no generator, a tensor of whole numbers, or not of rows.

    Example:
        >>> starting_noise((2, 3), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    if isinstance(start, Tensor):
        if not start.is_floating_point() or start.ndim < 2:
            raise ValueError(
                f"start must be noise (N, ...), floating point, or a shape such as (16, 1, 28, 28), got a "
                f"{start.dtype} tensor of shape {tuple(start.shape)}."
            )
        return start
    shape = tuple(start)
    if len(shape) < 2:
        raise ValueError(f"start must be a shape (N, ...) such as (16, 1, 28, 28), or noise of it, got {shape}.")
    if generator is None:
        raise ValueError(f"start is the shape {shape}: give a generator to draw noise from, or the noise itself.")
    return torch.randn(shape, generator=generator, device=generator.device)


@contextmanager
def asking(denoiser: Denoiser, start: Start, generator: torch.Generator | None) -> Iterator[tuple[Ask, Tensor]]:
    """Give a function that asks ``denoiser`` about ``(x, time)``, and the noise to start from; record no gradients.

    A module is in evaluation mode meanwhile. Half precision is what it is asked in: the state is kept in float32,
    because small steps would be lost in rounding.

    Args:
        denoiser: What is asked.
        start: The noise to start from, or its shape.
        generator: Draws it.

    Raises:
        ValueError: As for `starting_noise`; when asked, if the prediction has another shape than ``x``.

    Example:
        >>> with asking(lambda x, time: x * time[:, None], torch.ones(2, 1), None) as (ask, x):
        ...     ask(x, 0.25)
        tensor([[0.2500],
                [0.2500]])
    """
    noise = starting_noise(start, generator)
    exact = torch.promote_types(noise.dtype, torch.float32)

    def ask(x: Tensor, time: float) -> Tensor:
        times = torch.full((len(x),), time, dtype=exact, device=x.device)
        prediction = denoiser(x.to(noise.dtype), times)
        check_rows(times, x=x, prediction=prediction)
        return prediction.to(torch.promote_types(prediction.dtype, torch.float32))

    modules = [denoiser] if isinstance(denoiser, nn.Module) else []
    with torch.no_grad(), evaluation_mode(*modules):
        yield ask, noise.to(exact)


def _check(schedule: NoiseSchedule, predict: Prediction, clip: float | None) -> None:
    check_prediction("predict", predict)
    if predict == "epsilon" and schedule.alpha_bar[-1] == 0:
        raise ValueError(
            "the schedule ends in nothing but noise, where epsilon says nothing about the data: train with "
            "predict='v' or 'x0', or take a schedule that leaves a little of the data."
        )
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, or None to leave the guess at the data as it is, got {clip}.")


def _check_fresh_noise(what: str, generator: torch.Generator | None) -> None:
    if generator is None:
        raise ValueError(f"{what} adds fresh noise at every step: give a generator to draw it from.")


def _guess(ask: Ask, x: Tensor, t: int, schedule: NoiseSchedule, predict: Prediction, clip: float | None) -> Tensor:
    """What the denoiser takes the clean data to be."""
    prediction = ask(x, t / schedule.num_steps)
    steps = torch.full((len(x),), t, device=x.device)
    clean = convert(prediction, x, steps, schedule, of=predict, to="x0")
    return clean if clip is None else clean.clamp(-clip, clip)


def _fresh_noise(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
