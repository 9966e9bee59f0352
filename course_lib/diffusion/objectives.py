"""What a denoiser learns from: make a batch noisy, ask for the noise back, square the error."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from course_lib.diffusion.forward import add_noise, interpolate, per_row
from course_lib.diffusion.predictions import Prediction, check_prediction
from course_lib.diffusion.schedules import NoiseSchedule, check_factor
from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.nn.time_embedding import NO_LABEL

Weighting = Literal["simple", "min_snr"]
Times = Literal["uniform", "logit_normal"]
MOST_SNR = 5.0  # gamma of Hang et al.

# Shape letters used in this file: N = rows.


def denoising(
    schedule: NoiseSchedule,
    *,
    generator: torch.Generator,
    predict: Prediction = "epsilon",
    weighting: Weighting = "simple",
    drop_label: float = 0.1,
) -> Objective:
    """Return the objective of DDPM: at a random step each, how far is what the model predicts from the truth?

    The best that a model can do is the mean of all the truths that could have led to what it sees, and that mean is
    the score in other words: ``score = -E[epsilon | noisy] / noise(t)``.

    Args:
        schedule: How noisy each step is.
        generator: Draws steps, noise, and which labels are dropped; on the device of the data. Hand it to
            ``Run(generators=[...])`` too, so that it is saved, and under torchrun seed it differently on each rank.
        predict: What the model's output means.
        weighting: "simple": the plain squared error of what is predicted. "min_snr": the squared error of the
            data, times the signal-to-noise ratio or 5, whichever is less.
        drop_label: With which probability a label is hidden (-1), which is what guidance needs.

    Shape:
        - batch: ``(x, labels)``, ``(x,)`` or ``x``; x ``(N, ...)``, images in [-1, 1]; labels ``(N,)``, int64
        - the model is called as ``model(noisy, time)`` or ``model(noisy, time, labels)``; time ``(N,)`` from 0 to 1

    Returns:
        An objective; ``count`` is the number of rows. A row's loss is the mean over its numbers: with "simple" 1 for a
        model that predicts epsilon to be 0, and at best above 0 (unless all data is one point), because the noise
        cannot be told from the data exactly; only the exact score (see `GaussianMixture`) knows that best.

    Raises:
        ValueError: For an unknown ``predict`` or ``weighting``, or a ``drop_label`` outside [0, 1]; when called, for
            integer data, labels of another shape or type, a batch of more parts, a generator on another device, or a
            prediction of another shape.

    Example:
        >>> from course_lib.diffusion import linear_schedule
        >>> from course_lib.nn.time_mlp import TimeMLP
        >>> objective = denoising(linear_schedule(), generator=torch.Generator().manual_seed(0))
        >>> loss = objective(TimeMLP(2), torch.zeros(5000, 2))  # a new TimeMLP says 0
        >>> loss.count, round(loss.total.item() / loss.count, 1)
        (5000, 1.0)

    Reference: Ho, Jain and Abbeel 2020, Denoising diffusion probabilistic models, eq. 14,
    https://arxiv.org/abs/2006.11239; Hang et al. 2023, Efficient diffusion training via min-SNR weighting strategy,
    section 3.4, https://arxiv.org/abs/2303.09556
    """
    check_prediction("predict", predict)
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting must be 'simple' or 'min_snr', got {weighting!r}.")
    _check_probability(drop_label)

    def objective(model: nn.Module, batch: Batch) -> Loss:
        clean, labels = _rows(batch, generator)
        t = torch.randint(1, schedule.num_steps + 1, clean.shape[:1], generator=generator, device=clean.device)
        noise = _noise_like(clean, generator)
        noisy = add_noise(clean, noise, t, schedule)
        signal_t, noise_t = per_row(schedule.signal(t), clean), per_row(schedule.noise(t), clean)
        targets = {"epsilon": lambda: noise, "x0": lambda: clean, "v": lambda: signal_t * noise - noise_t * clean}
        prediction = _predict(model, noisy, schedule.time(t), labels, drop_label, generator)
        error = _squared_error(prediction, targets[predict]())
        if weighting == "min_snr":
            error = error * _min_snr(schedule.log_snr(t), predict).to(error.dtype)
        return Loss(error.sum(), len(clean))

    return objective


def flow_matching(
    *, generator: torch.Generator, times: Times = "uniform", shift: float = 1.0, drop_label: float = 0.1
) -> Objective:
    """Return the objective of flow matching: on the straight line from data to noise, which way does it go?

    Every pair of a data row and a noise row has its own line and its constant velocity ``noise - clean``. Lines cross,
    and where they do the model learns the mean of their velocities; following that mean from noise arrives at data.

    Args:
        generator: Draws times, noise, and which labels are dropped; see `denoising`.
        times: "uniform", or "logit_normal": the sigmoid of a standard normal, which looks more at the middle, where it
            is hardest to say.
        shift: Moves the times towards noise, as `shifted_time` does; for large images.
        drop_label: With which probability a label is hidden (-1), which is what guidance needs.

    Shape:
        - as for `denoising`

    Returns:
        An objective; ``count`` is the number of rows. A row's loss is the mean over its numbers of the squared error
        of ``noise - clean``: for a model that says 0 it is 1 plus the mean square of the data; at best it is above 0,
        unless all data is one point.

    Raises:
        ValueError: For unknown ``times``, a ``shift`` that is not positive, a ``drop_label`` outside [0, 1]; when
            called, as for `denoising`.

    Example:
        >>> from course_lib.nn.time_mlp import TimeMLP
        >>> objective = flow_matching(generator=torch.Generator().manual_seed(0))
        >>> loss = objective(TimeMLP(2), (torch.ones(5000, 2),))
        >>> round(loss.total.item() / loss.count, 1)
        2.0

    Reference: Lipman et al. 2022, Flow matching for generative modeling, eq. 23, https://arxiv.org/abs/2210.02747;
    logit-normal times: Esser et al. 2024, Scaling rectified flow transformers, section 3.1,
    https://arxiv.org/abs/2403.03206
    """
    if times not in get_args(Times):
        raise ValueError(f"times must be 'uniform' or 'logit_normal', got {times!r}.")
    check_factor("shift", shift)
    _check_probability(drop_label)

    def objective(model: nn.Module, batch: Batch) -> Loss:
        clean, labels = _rows(batch, generator)
        if times == "uniform":
            time = torch.rand(clean.shape[:1], generator=generator, device=clean.device)
        else:
            time = torch.randn(clean.shape[:1], generator=generator, device=clean.device).sigmoid()
        time = shifted_time(time, shift)
        noise = _noise_like(clean, generator)
        prediction = _predict(model, interpolate(clean, noise, time), time, labels, drop_label, generator)
        return Loss(_squared_error(prediction, noise - clean).sum(), len(clean))

    return objective


def shifted_time(time: Tensor, factor: float) -> Tensor:
    """Return ``factor * time / (1 + (factor - 1) * time)``: noise over signal, ``t / (1 - t)``, times ``factor``.

    What `shifted` does to a schedule, for the straight line of flow matching. 0 stays 0 and 1 stays 1.

    Args:
        time: From 0 to 1.
        factor: Above 1 for more noise; 3 for 1024x1024 images in Stable Diffusion 3.

    Shape:
        - time, output: any, floating point

    Raises:
        ValueError: If ``factor`` is not positive and finite.

    Example:
        >>> shifted_time(torch.tensor([0.0, 0.5, 1.0]), 3.0)
        tensor([0.0000, 0.7500, 1.0000])

    Reference: Esser et al. 2024, Scaling rectified flow transformers, eq. 23, https://arxiv.org/abs/2403.03206
    """
    check_factor("factor", factor)
    return factor * time / (1 + (factor - 1) * time)


def _rows(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    parts = (batch,) if isinstance(batch, Tensor) else batch
    if not isinstance(parts, (tuple, list)) or len(parts) not in (1, 2):
        length = f" of {len(parts)}" if isinstance(parts, (tuple, list)) else ""
        raise ValueError(f"a batch is x, (x,) or (x, labels), got a {type(parts).__name__}{length}.")
    clean, labels = parts if len(parts) == 2 else (parts[0], None)
    if not clean.is_floating_point() or clean.ndim < 2:
        raise ValueError(
            f"diffusion needs floating-point rows (N, ...), images in [-1, 1], got {clean.dtype} of shape "
            f"{tuple(clean.shape)}."
        )
    if generator.device.type != clean.device.type:
        raise ValueError(
            f"the generator is on {generator.device} and the data on {clean.device}: make it with "
            f"torch.Generator({clean.device.type!r})."
        )
    if labels is not None and (labels.shape != clean.shape[:1] or labels.dtype != torch.int64):
        raise ValueError(
            f"labels must be int64 of shape {tuple(clean.shape[:1])}, one for each row, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    return clean, labels


def _predict(
    model: nn.Module,
    noisy: Tensor,
    time: Tensor,
    labels: Tensor | None,
    drop_label: float,
    generator: torch.Generator,
) -> Tensor:
    if labels is None:
        prediction = model(noisy, time)
    else:
        dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < drop_label
        prediction = model(noisy, time, labels.masked_fill(dropped, NO_LABEL))
    if prediction.shape != noisy.shape:
        raise ValueError(
            f"the model must return a prediction of its input's shape {tuple(noisy.shape)}, got "
            f"{tuple(prediction.shape)}."
        )
    return prediction  # type: ignore[no-any-return]


def _noise_like(clean: Tensor, generator: torch.Generator) -> Tensor:
    dtype = torch.promote_types(clean.dtype, torch.float32)
    return torch.randn(clean.shape, generator=generator, device=clean.device, dtype=dtype)


def _squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each row."""
    return (prediction.to(target.dtype) - target).square().flatten(1).mean(dim=1)


def _min_snr(log_snr: Tensor, predict: Prediction) -> Tensor:
    """What the error of ``predict`` is weighted by so that the error of x0 counts ``min(snr, 5)`` times."""
    snr = log_snr.exp()
    if predict == "epsilon":
        return (MOST_SNR / snr).clamp(max=1)  # min(snr, 5) / snr, also where nothing is left of the data: snr 0
    weight_of_x0 = snr.clamp(max=MOST_SNR)
    return weight_of_x0 if predict == "x0" else weight_of_x0 / (snr + 1)


def _check_probability(drop_label: float) -> None:
    if not 0 <= drop_label <= 1:
        raise ValueError(f"drop_label is a probability, from 0 to 1, got {drop_label}; 0.1 is usual.")
