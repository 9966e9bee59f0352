"""Data whose score is known exactly at every noise level: a mixture of Gaussians, the truth to hold a model against."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from course_lib.diffusion.predictions import Prediction, check_prediction
from course_lib.diffusion.schedules import NoiseSchedule

ExactModel = Callable[..., Tensor]
"""Called as ``(x, time)`` or ``(x, time, labels)``, as a trained model is."""

# Shape letters used in this file: N = rows, D = their size, K = components.


@dataclass(frozen=True, slots=True, eq=False)
class GaussianMixture:
    """Round Gaussians, each with its centre, its width and its share; noise added to it gives such a mixture again.

    ``signal * x + noise * normal`` has centres ``signal * means`` and variances ``signal^2 stds^2 + noise^2``. So
    density, score, and what a perfect denoiser says can be written down.

    Args:
        means: Centres.
        stds: Standard deviations, one for all or one for each.
        weights: Shares; equal by default. They are divided by their sum.

    Shape:
        - means: ``(K, D)``
        - stds, weights: ``(K,)``; all are kept as float64 on the CPU

    Raises:
        ValueError: If shapes do not fit together, or a standard deviation or a weight is not positive and finite.

    Example:
        >>> mixture = GaussianMixture(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), stds=0.5)
        >>> mixture.score(torch.zeros(1, 2), signal=1.0, noise=0.0)  # half way between: no way is better
        tensor([[0., 0.]])
    """

    means: Tensor
    _: KW_ONLY
    stds: float | Tensor
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        means = torch.as_tensor(self.means).to("cpu", torch.float64)
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(f"means must be (K, D), one row a component, got {tuple(means.shape)}.")
        stds = torch.as_tensor(self.stds).to("cpu", torch.float64)
        weights = torch.ones(len(means)) if self.weights is None else torch.as_tensor(self.weights)
        weights = weights.to("cpu", torch.float64)
        stds = stds.expand(len(means)) if stds.ndim == 0 else stds
        for name, values in (("stds", stds), ("weights", weights)):
            if values.shape != (len(means),) or not ((values > 0) & values.isfinite()).all():
                raise ValueError(
                    f"{name} must be {len(means)} positive, finite numbers, one a component, got {values.tolist()}."
                )
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "stds", stds)
        object.__setattr__(self, "weights", weights / weights.sum())

    def sample(self, num: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``num`` rows; return them, float32 ``(num, D)``, and the component of each, int64 ``(num,)``."""
        device = generator.device
        means, stds, weights = self._on(torch.empty((), device=device))
        component = torch.multinomial(weights, num, replacement=True, generator=generator)
        noise = torch.randn(num, means.shape[1], generator=generator, device=device)
        return means[component] + stds[component, None] * noise, component

    def log_density(
        self, x: Tensor, *, signal: float | Tensor = 1.0, noise: float | Tensor = 0.0, labels: Tensor | None = None
    ) -> Tensor:
        """Return the logarithm of the density of ``signal * data + noise * normal`` at each row, in nats: ``(N,)``.

        Args:
            x: Where.
            signal: What the data was multiplied by; a number, or one for each row.
            noise: Standard deviation of the noise added.
            labels: The component that each row is known to be of; -1 or None: any.

        Shape:
            - x: ``(N, D)``; signal, noise: ``()`` or ``(N,)``; labels: ``(N,)``, int64

        Raises:
            ValueError: If ``x`` or labels have another shape, or (on the CPU) a label is no component.
        """
        return self._log_joint(x, signal, noise, labels)[0].logsumexp(dim=1)

    def score(
        self, x: Tensor, *, signal: float | Tensor = 1.0, noise: float | Tensor = 0.0, labels: Tensor | None = None
    ) -> Tensor:
        """Return the gradient of `log_density` with respect to ``x``: the way to where data is dense, ``(N, D)``."""
        log_joint_NK, pull_NKD, _ = self._log_joint(x, signal, noise, labels)
        return (log_joint_NK.softmax(dim=1)[..., None] * pull_NKD).sum(dim=1)

    def expected_noise(
        self, x: Tensor, *, signal: float | Tensor, noise: float | Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Return ``E[epsilon | x] = -noise * score``: what a perfect epsilon model says, ``(N, D)``."""
        return -_column(noise, x) * self.score(x, signal=signal, noise=noise, labels=labels)

    def expected_data(
        self, x: Tensor, *, signal: float | Tensor, noise: float | Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Return ``E[x0 | x]``: what a perfect x0 model says, the mean of what ``x`` may have been, ``(N, D)``."""
        log_joint_NK, pull_NKD, means_KD = self._log_joint(x, signal, noise, labels)
        _, stds_K, _ = self._on(x)
        guess_NKD = means_KD - _column(signal, x)[..., None] * stds_K[:, None].square() * pull_NKD
        return (log_joint_NK.softmax(dim=1)[..., None] * guess_NKD).sum(dim=1)

    def exact_denoiser(self, schedule: NoiseSchedule, *, predict: Prediction = "epsilon") -> ExactModel:
        """Return what a model trained for ever by `denoising` would say, called as ``(x, time, labels=None)``.

        Raises:
            ValueError: If ``predict`` is none of the three.
        """
        check_prediction("predict", predict)

        def denoiser(x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
            t = schedule.steps(time)
            signal, noise = schedule.signal(t).to(x), schedule.noise(t).to(x)
            if predict == "epsilon":
                return self.expected_noise(x, signal=signal, noise=noise, labels=labels)
            x0 = self.expected_data(x, signal=signal, noise=noise, labels=labels)
            if predict == "x0":
                return x0
            epsilon = self.expected_noise(x, signal=signal, noise=noise, labels=labels)
            return signal[:, None] * epsilon - noise[:, None] * x0

        return denoiser

    def exact_velocity(self) -> ExactModel:
        """Return what a model trained for ever by `flow_matching` would say, called as ``(x, time, labels=None)``."""

        def velocity(x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
            epsilon = self.expected_noise(x, signal=1 - time, noise=time, labels=labels)
            return epsilon - self.expected_data(x, signal=1 - time, noise=time, labels=labels)

        return velocity

    def _on(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert isinstance(self.stds, Tensor)
        assert self.weights is not None
        return self.means.to(x), self.stds.to(x), self.weights.to(x)

    def _log_joint(
        self, x: Tensor, signal: float | Tensor, noise: float | Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``log(weight * density)`` of each component (N, K), the score of each (N, K, D), and the means."""
        if x.ndim != 2 or x.shape[1] != self.means.shape[1] or not x.is_floating_point():
            raise ValueError(
                f"this mixture needs floating-point rows (N, {self.means.shape[1]}), got {x.dtype} of shape "
                f"{tuple(x.shape)}."
            )
        means_KD, stds_K, weights_K = self._on(x)
        signal_N1, noise_N1 = _column(signal, x), _column(noise, x)
        variance_NK = (signal_N1 * stds_K).square() + noise_N1.square()
        away_NKD = x[:, None] - signal_N1[..., None] * means_KD
        log_normal_NK = (
            -away_NKD.square().sum(-1) / (2 * variance_NK) - x.shape[1] / 2 * (2 * math.pi * variance_NK).log()
        )
        log_joint_NK = weights_K.log() + log_normal_NK
        if labels is not None:
            self._check_labels(labels, len(x))
            components_K = torch.arange(len(means_KD), device=x.device)
            other_NK = (labels[:, None] >= 0) & (labels[:, None] != components_K)
            log_joint_NK = log_joint_NK.masked_fill(other_NK, -math.inf)
        return log_joint_NK, -away_NKD / variance_NK[..., None], means_KD

    def _check_labels(self, labels: Tensor, num_rows: int) -> None:
        most = len(self.means) - 1
        on_cpu = labels.device.type == "cpu" and labels.numel()  # looking there makes no device wait
        if labels.shape != (num_rows,) or (on_cpu and not -1 <= int(labels.min()) <= int(labels.max()) <= most):
            raise ValueError(
                f"labels must be of shape ({num_rows},), each from 0 to {most} or -1 for any, got shape "
                f"{tuple(labels.shape)}: {labels.flatten()[:5].tolist()}."
            )


def _column(value: float | Tensor, x: Tensor) -> Tensor:
    """A number, or one for each row, as a column (N or 1, 1) of x's type."""
    value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    return value.reshape(-1, 1)
