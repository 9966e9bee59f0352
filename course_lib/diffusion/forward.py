"""Making data noisy: any step of the forward process at once, and the straight line of flow matching."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.diffusion.schedules import NoiseSchedule

# Shape letters used in this file: N = rows (images, points).


def add_noise(clean: Tensor, noise: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Return ``signal(t) * clean + noise(t) * noise``: the state at step t, without walking through the steps before.

    Adding normal noise t times is the same as adding it once with the variances summed, which is what makes training
    cheap: every row can be at a step of its own.

    Args:
        clean: Data; images in [-1, 1], so that data and noise are of one size.
        noise: Standard normal.
        t: Steps, 0 is clean.
        schedule: How much of each at which step.

    Shape:
        - clean, noise, output: ``(N, ...)``, floating point; half precision comes out as float32
        - t: ``(N,)``, int64 from 0 to ``schedule.num_steps``

    Returns:
        Rows whose variance is 1 at every step if that of the data is 1.

    Raises:
        ValueError: If shapes do not fit together or a step is out of range.

    Example:
        >>> from course_lib.diffusion import NoiseSchedule
        >>> schedule = NoiseSchedule(torch.tensor([1.0, 0.64, 0.36]))
        >>> add_noise(torch.ones(2, 1), torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 2]), schedule)
        tensor([[ 1.4000],
                [-0.2000]])

    Reference: Ho, Jain and Abbeel 2020, Denoising diffusion probabilistic models, eq. 4,
    https://arxiv.org/abs/2006.11239
    """
    check_rows(t, clean=clean, noise=noise)
    return per_row(schedule.signal(t), clean) * clean + per_row(schedule.noise(t), clean) * noise


def interpolate(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return ``(1 - time) * clean + time * noise``: the straight line from data (0) to noise (1) of flow matching.

    Along it the velocity is ``noise - clean``, at every time the same.

    Args:
        clean: Data; images in [-1, 1].
        noise: Standard normal.
        time: From 0 to 1.

    Shape:
        - clean, noise, output: ``(N, ...)``, floating point; half precision comes out as float32
        - time: ``(N,)``, floating point

    Raises:
        ValueError: If shapes do not fit together.

    Example:
        >>> interpolate(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0.25]))
        tensor([[0.2500, 0.2500]])

    Reference: Liu, Gong and Liu 2022, Flow straight and fast, eq. 1, https://arxiv.org/abs/2209.03003; Lipman et al.
    2022, Flow matching for generative modeling, https://arxiv.org/abs/2210.02747 (both run time the other way)
    """
    check_rows(time, clean=clean, noise=noise)
    time = per_row(time, clean)
    return (1 - time) * clean + time * noise


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """Return ``(N,)`` values shaped and typed to multiply the rows of ``x`` with (half precision becomes float32)."""
    return values.to(torch.promote_types(x.dtype, torch.float32)).view(-1, *[1] * (x.ndim - 1))


def check_rows(times: Tensor, **tensors: Tensor) -> None:
    """Refuse tensors of different shapes, or without one time for each row: they would broadcast.

    Raises:
        ValueError: If they do not fit together.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1 or any(times.shape != tensor.shape[:1] for tensor in tensors.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"these must have one shape (N, ...), and the times (N,): got {listed}, {tuple(times.shape)}.")
