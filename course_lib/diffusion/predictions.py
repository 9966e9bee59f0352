"""Three things that a denoiser may predict, epsilon, x0 and v, and how to get from any to any other."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from course_lib.diffusion.forward import check_rows, per_row
from course_lib.diffusion.schedules import NoiseSchedule

Prediction = Literal["epsilon", "x0", "v"]


def convert(
    prediction: Tensor, noisy: Tensor, t: Tensor, schedule: NoiseSchedule, *, of: Prediction, to: Prediction
) -> Tensor:
    """Return what ``prediction`` says in other terms: the noise (epsilon), the data (x0), or the velocity (v).

    ``noisy = signal * x0 + noise * epsilon`` is known, so either of the two gives the other. With ``signal = cos(a)``
    and ``noise = sin(a)`` the noisy row moves on a circle as the angle grows, and ``v = signal * epsilon - noise * x0``
    is the direction in which it moves. Epsilon says little about x0 where nearly all is noise, and x0 little about
    epsilon where nearly none is; v is well behaved at both ends.

    Args:
        prediction: What the network said.
        noisy: What it was shown.
        t: At which steps. At step 0 there is no noise: neither epsilon nor v can be had from x0 there; where a schedule
            leaves no signal, neither x0 nor v from epsilon (infinite or NaN).
        schedule: How much signal and noise there is at a step.
        of: What ``prediction`` is.
        to: What is wanted.

    Shape:
        - prediction, noisy, output: ``(N, ...)``; half precision comes out as float32
        - t: ``(N,)``, int64

    Raises:
        ValueError: If shapes do not fit together, or ``of`` or ``to`` is none of the three.

    Example:
        >>> import torch
        >>> from course_lib.diffusion import NoiseSchedule
        >>> schedule = NoiseSchedule(torch.tensor([1.0, 0.64]))  # signal 0.8, noise 0.6
        >>> convert(torch.tensor([[1.0]]), torch.tensor([[2.2]]), torch.tensor([1]), schedule, of="epsilon", to="x0")
        tensor([[2.]])

    Reference: Salimans and Ho 2022, Progressive distillation for fast sampling of diffusion models, section 4 and
    appendix D, https://arxiv.org/abs/2202.00512
    """
    check_prediction("of", of)
    check_prediction("to", to)
    check_rows(t, prediction=prediction, noisy=noisy)
    signal, noise = per_row(schedule.signal(t), noisy), per_row(schedule.noise(t), noisy)
    if of == to:
        return prediction.to(signal.dtype)
    if of == "epsilon":
        epsilon = prediction
        x0 = (noisy - noise * epsilon) / signal
    elif of == "x0":
        x0 = prediction
        epsilon = (noisy - signal * x0) / noise
    else:
        x0 = signal * noisy - noise * prediction
        epsilon = noise * noisy + signal * prediction
    if to == "epsilon":
        return epsilon
    return x0 if to == "x0" else signal * epsilon - noise * x0


def check_prediction(name: str, value: str) -> None:
    """Refuse what is none of the three.

    Raises:
        ValueError: If ``value`` is not "epsilon", "x0" or "v".
    """
    if value not in get_args(Prediction):
        raise ValueError(f"{name} must be 'epsilon', 'x0' or 'v', got {value!r}.")
