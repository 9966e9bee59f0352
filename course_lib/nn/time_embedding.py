"""Telling a network how noisy its input is, and which class is asked for: sines and cosines, then a small MLP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn._layers import linear
from course_lib.nn.initialisers import he_normal_

NO_LABEL = -1  # the label of a row whose class is not given

# Shape letters used in this file: N = rows, D = width of the embedding, F = frequencies.


def sinusoids(time: Tensor, num_features: int) -> Tensor:
    """Return cosines and sines of ``1000 * time`` at frequencies from 1 down to 1/10000, evenly in the logarithm.

    A network cannot easily tell 0.01 from 0.02; among waves of all lengths some change much between the two. They are
    the positions of "Attention is all you need", for a time in place of a place.

    Args:
        time: From 0 (data) to 1 (noise).
        num_features: F cosines and as many sines; even.

    Shape:
        - time: ``(N,)``, floating point
        - output: ``(N, num_features)``, at least float32

    Raises:
        ValueError: If ``num_features`` is not even and positive.

    Example:
        >>> sinusoids(torch.zeros(1), 4)
        tensor([[1., 1., 0., 0.]])

    Reference: Ho, Jain and Abbeel 2020, Denoising diffusion probabilistic models, appendix B,
    https://arxiv.org/abs/2006.11239
    """
    _check_even(num_features)
    time = time.to(torch.promote_types(time.dtype, torch.float32))
    num_frequencies = num_features // 2
    places_F = torch.arange(num_frequencies, dtype=time.dtype, device=time.device)
    frequencies_F = torch.exp(-math.log(10_000) * places_F / num_frequencies)
    phases_NF = 1000 * time[:, None] * frequencies_F
    return torch.cat([phases_NF.cos(), phases_NF.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """``linear(silu(linear(sinusoids(time))))``, plus a learnt vector for the class if there are classes.

    One more vector than there are classes stands for "no class given". Training now and then with it is what
    classifier-free guidance needs.

    Args:
        num_features: Sines and cosines that go in; even.
        width: Numbers that come out, D.
        num_classes: How many classes there are. None: labels are refused.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - time: ``(N,)``, floating point in [0, 1]
        - labels: ``(N,)``, int64 in ``[0, num_classes)`` or ``NO_LABEL`` (-1); None is that for all rows
        - output: ``(N, D)``

    Raises:
        ValueError: If ``num_features`` is not even and positive, or ``num_classes`` less than 1; when called, if time
            or labels have another shape or dtype, there are labels but no classes, or (on the CPU) a label is none.

    Example:
        >>> embedding = TimeEmbedding(8, 16, num_classes=10)
        >>> embedding(torch.rand(3), torch.tensor([7, 0, NO_LABEL])).shape
        torch.Size([3, 16])

    Reference: for the class that is none, Ho and Salimans 2022, Classifier-free diffusion guidance, section 3.2,
    https://arxiv.org/abs/2207.12598
    """

    def __init__(
        self, num_features: int, width: int, *, num_classes: int | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        _check_even(num_features)
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, or None for a model without classes, got {num_classes}.")
        self.num_features = num_features
        self.num_classes = num_classes
        self.hidden = linear(num_features, width, initialiser=he_normal_, generator=generator)
        self.out = linear(width, width, initialiser=he_normal_, generator=generator)
        self.classes: nn.Parameter | None = None
        if num_classes is not None:  # row 0 is "no class"
            table = torch.empty(num_classes + 1, width)
            if not table.is_meta:
                seeds = generator.device if generator is not None else table.device
                table = torch.randn(table.shape, generator=generator, device=seeds).to(table)
            self.classes = nn.Parameter(table)

    def forward(self, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the embedding of each row's time and class."""
        if time.ndim != 1 or not time.is_floating_point():
            raise ValueError(
                f"time must be floating point of shape (N,), from 0 to 1, got {time.dtype} of shape "
                f"{tuple(time.shape)}; schedule.time(t) turns steps into it."
            )
        waves = sinusoids(time, self.num_features).to(self.hidden.weight.dtype)
        embedding: Tensor = self.out(F.silu(self.hidden(waves)))
        if self.classes is None:
            if labels is not None:
                raise ValueError("this model has no classes: leave the labels out, or build it with num_classes.")
            return embedding
        if labels is None:
            return embedding + self.classes[0]
        if labels.shape != time.shape or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be int64 of shape {tuple(time.shape)}, one for each time, got {labels.dtype} of shape "
                f"{tuple(labels.shape)}."
            )
        on_cpu = labels.device.type == "cpu" and labels.numel()  # looking there makes no device wait
        if on_cpu and not -1 <= int(labels.min()) <= int(labels.max()) < len(self.classes) - 1:
            raise ValueError(
                f"labels must lie in 0 to {len(self.classes) - 2}, or be -1 for any, got {int(labels.min())} to "
                f"{int(labels.max())}."
            )
        return embedding + F.embedding(labels + 1, self.classes)


def _check_even(num_features: int) -> None:
    if num_features < 2 or num_features % 2:
        raise ValueError(f"num_features must be even and positive, got {num_features}; for UNet it is the width.")
