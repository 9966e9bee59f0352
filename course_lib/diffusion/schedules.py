"""Noise schedules: how much of the data is left, and how much noise is in, at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_lib.loops.loss import exact_dtype

# T = num_steps. Step 0 is clean data, step T the noisiest, as in the papers.


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NoiseSchedule:
    """At step t an image is ``signal(t) * clean + noise(t) * standard normal noise``, with ``signal^2 + noise^2 = 1``.

    Step 0 is the clean image and step ``num_steps`` the noisiest, as in Ho et al. (a timestep of ``diffusers``, which
    starts at the first noisy one, is ``t - 1``).

    Args:
        alpha_bar: ``signal(t)^2`` for ``t = 0, 1, ..., num_steps``: starts at 1 and falls.

    Shape:
        - alpha_bar: ``(num_steps + 1,)``, kept as float64 on the CPU

    Raises:
        ValueError: If ``alpha_bar`` does not start at 1, does not fall at every step, or leaves [0, 1].

    Example:
        >>> schedule = NoiseSchedule(torch.tensor([1.0, 0.64, 0.36]))
        >>> t = torch.tensor([0, 1, 2])
        >>> schedule.signal(t)
        tensor([1.0000, 0.8000, 0.6000], dtype=torch.float64)
        >>> schedule.noise(t)
        tensor([0.0000, 0.6000, 0.8000], dtype=torch.float64)

    Reference: Ho, Jain and Abbeel 2020, Denoising diffusion probabilistic models, eq. 4,
    https://arxiv.org/abs/2006.11239
    """

    alpha_bar: Tensor
    _tables: dict[torch.device, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        alpha_bar = self.alpha_bar.detach().to("cpu", torch.float64, copy=True)  # nobody else can change it
        object.__setattr__(self, "alpha_bar", alpha_bar)
        if alpha_bar.ndim != 1 or len(alpha_bar) < 2 or alpha_bar[0] != 1:
            raise ValueError(
                "alpha_bar needs shape (num_steps + 1,) and starts at 1, the clean image, got shape "
                f"{tuple(alpha_bar.shape)}, {alpha_bar.flatten()[:1].tolist()} first."
            )
        if not (alpha_bar.diff() < 0).all() or not alpha_bar[-1] >= 0:
            raise ValueError("alpha_bar must fall at every step and stay at 0 or above: each step adds noise.")

    def __repr__(self) -> str:
        return f"NoiseSchedule({self.num_steps} steps, alpha_bar from 1 to {float(self.alpha_bar[-1]):.3g})"

    @property
    def num_steps(self) -> int:
        """How many steps lead from the data to the noise."""
        return len(self.alpha_bar) - 1

    @property
    def betas(self) -> Tensor:
        """The variance that each step adds, ``1 - alpha_bar[t] / alpha_bar[t - 1]``; ``betas[0]`` is 0."""
        return torch.cat([self.alpha_bar.new_zeros(1), 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]])

    def signal(self, t: Tensor) -> Tensor:
        """Return what the clean image is multiplied by at steps ``t``, float64 (float32 on MPS), on their device."""
        return self._at(0, t)

    def noise(self, t: Tensor) -> Tensor:
        """Return the standard deviation of the noise at steps ``t``."""
        return self._at(1, t)

    def log_snr(self, t: Tensor) -> Tensor:
        """Return ``log(signal^2 / noise^2)``, the logarithm of the signal-to-noise ratio; infinite at step 0."""
        return self._at(2, t)

    def time(self, t: Tensor) -> Tensor:
        """Return ``t / num_steps`` in float32, from 0 to 1: what a network is told."""
        return t.to(torch.float32) / self.num_steps

    def steps(self, time: Tensor) -> Tensor:
        """Return the steps that belong to times from 0 to 1, rounded: what undoes `time`."""
        return (time * self.num_steps).round().long()

    def _at(self, row: int, t: Tensor) -> Tensor:
        if t.dtype not in (torch.int64, torch.int32):
            raise ValueError(
                f"steps are whole numbers from 0 to {self.num_steps}, got {t.dtype}; schedule.steps(time) makes them."
            )
        if t.device.type == "cpu" and t.numel() and not 0 <= int(t.min()) <= int(t.max()) <= self.num_steps:
            raise ValueError(f"steps go from 0 to {self.num_steps}, got {int(t.min())} to {int(t.max())}.")
        if t.device not in self._tables:  # copied there once: later look-ups do not wait for the transfer
            alpha_bar = self.alpha_bar
            table = torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), torch.logit(alpha_bar)])
            self._tables[t.device] = table.to(t.device, exact_dtype(t.device))
        return self._tables[t.device][row][t]


def linear_schedule(num_steps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """Return the schedule of the DDPM paper: the variance that a step adds grows linearly.

    The two numbers are meant for 1000 steps. With fewer, each step must add more to arrive at noise all the same, so
    they are multiplied by ``1000 / num_steps`` (``diffusers`` leaves them as they are).

    Args:
        num_steps: T.
        beta_start: Variance added by the first of 1000 steps.
        beta_end: Variance added by the last of 1000 steps.

    Raises:
        ValueError: If a variance is not between 0 and 1, or falls; with the usual two, below 21 steps.

    Example:
        >>> linear_schedule()
        NoiseSchedule(1000 steps, alpha_bar from 1 to 4.04e-05)

    Reference: Ho, Jain and Abbeel 2020, section 4, https://arxiv.org/abs/2006.11239; the factor is that of Nichol and
    Dhariwal 2021's code, Improved denoising diffusion probabilistic models, https://arxiv.org/abs/2102.09672
    """
    check_num_steps(num_steps)
    scale = 1000 / num_steps
    if not 0 < scale * beta_start <= scale * beta_end < 1:
        raise ValueError(
            f"betas must lie between 0 and 1 and not fall, got {scale * beta_start:.3g} to {scale * beta_end:.3g} "
            f"(scaled by 1000 / {num_steps}): take more steps, or cosine_schedule."
        )
    betas = scale * torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64)
    return _from_betas(betas)


def cosine_schedule(num_steps: int = 1000, *, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """Return the schedule whose signal falls along a cosine: ``alpha_bar ~ cos^2((t/T + offset) / (1 + offset) pi/2)``.

    The linear one destroys small images too early and wastes its last steps on noise; this one takes its time.

    Args:
        num_steps: T.
        offset: Keeps the first steps from adding too little noise.
        max_beta: Most that a step may add; without it the last step would leave nothing at all of the image.

    Raises:
        ValueError: If ``num_steps`` is less than 1, ``offset`` is negative, or ``max_beta`` is not between 0 and 1.

    Example:
        >>> cosine_schedule()
        NoiseSchedule(1000 steps, alpha_bar from 1 to 2.43e-09)

    Reference: Nichol and Dhariwal 2021, Improved denoising diffusion probabilistic models, eq. 17,
    https://arxiv.org/abs/2102.09672
    """
    check_num_steps(num_steps)
    if not (0 <= offset < math.inf and 0 < max_beta < 1):
        raise ValueError(
            f"offset must be 0 or more and max_beta between 0 and 1, got offset={offset} and max_beta={max_beta}."
        )
    times = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    wanted = torch.cos((times + offset) / (1 + offset) * math.pi / 2).square()
    return _from_betas((1 - wanted[1:] / wanted[:-1]).clamp(max=max_beta))


def shifted(schedule: NoiseSchedule, factor: float) -> NoiseSchedule:
    """Return ``schedule`` with ``noise / signal`` multiplied by ``factor`` at every step.

    Neighbouring pixels of a large image say nearly the same, and averaging them takes the noise out again: at
    the same schedule a larger image is less destroyed. A factor of 2 for twice the height and width makes up for that.

    Args:
        schedule: What to start from.
        factor: Above 1 for more noise, below 1 for less.

    Raises:
        ValueError: If ``factor`` is not positive and finite.

    Example:
        >>> plain = cosine_schedule()
        >>> t = torch.tensor([500])
        >>> ((plain.log_snr(t) - shifted(plain, 2.0).log_snr(t)).exp()).round(decimals=6).item()  # 2 squared
        4.0

    Reference: Hoogeboom, Heek and Salimans 2023, Simple diffusion, section 3.1 (its ``64 / d`` is ``1 / factor``),
    https://arxiv.org/abs/2301.11093
    """
    check_factor("factor", factor)
    alpha_bar = schedule.alpha_bar
    return NoiseSchedule(alpha_bar / (alpha_bar + factor**2 * (1 - alpha_bar)))


def check_num_steps(num_steps: int) -> None:
    """Refuse less than one step.

    Raises:
        ValueError: If ``num_steps`` is less than 1.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")


def check_factor(name: str, factor: float) -> None:
    """Refuse a factor that is not positive and finite.

    Raises:
        ValueError: If it is zero, negative, infinite or NaN.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"{name} must be positive and finite, got {factor!r}; 1 changes nothing.")


def _from_betas(betas: Tensor) -> NoiseSchedule:
    return NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)]))
