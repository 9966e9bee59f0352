"""A multilayer perceptron that is told the time: a denoiser for points in the plane."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn._layers import linear
from course_lib.nn.initialisers import he_normal_, xavier_normal_
from course_lib.nn.time_embedding import TimeEmbedding


class TimeMLP(nn.Module):
    """``h = h + linear(silu(h + time))``, ``num_layers`` times, between a linear layer in and one out.

    Called like `UNet`, so that what is learnt on points in the plane carries over to images.

    Args:
        dim: Numbers in a row of the input and of the output.
        width: Hidden units.
        num_layers: Hidden layers with a skip each.
        num_classes: How many classes can be asked for. None: a model without classes.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - x: ``(N, dim)``
        - time: ``(N,)``, floating point from 0 (data) to 1 (noise)
        - labels: ``(N,)``, int64 in ``[0, num_classes)``, or -1 for "any"; None is that for all rows
        - output: ``(N, dim)``; 0 before training

    Raises:
        ValueError: If a size is less than 1, or x, time and labels do not fit together.

    Example:
        >>> model = TimeMLP(2, width=32, generator=torch.Generator().manual_seed(0))
        >>> model(torch.zeros(5, 2), torch.full((5,), 0.5)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        dim: int = 2,
        *,
        width: int = 128,
        num_layers: int = 3,
        num_classes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(dim, width, num_layers) < 1:
            raise ValueError(f"dim, width and num_layers must be at least 1, got {dim}, {width} and {num_layers}.")
        self.dim = dim
        self.time = TimeEmbedding(2 * ((width + 1) // 2), width, num_classes=num_classes, generator=generator)
        self.first = linear(dim, width, initialiser=xavier_normal_, generator=generator)
        self.layers = nn.ModuleList(
            linear(width, width, initialiser=he_normal_, generator=generator) for _ in range(num_layers)
        )
        self.last = linear(width, dim, initialiser=xavier_normal_, generator=generator)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the prediction for each row of ``x``."""
        if x.ndim != 2 or x.shape[1] != self.dim or time.shape != x.shape[:1]:
            raise ValueError(
                f"this TimeMLP needs x (N, {self.dim}) and time (N,), got {tuple(x.shape)} and {tuple(time.shape)}."
            )
        embedding = self.time(time, labels)
        h: Tensor = self.first(x)
        for layer in self.layers:
            h = h + layer(F.silu(h + embedding))
        out: Tensor = self.last(F.silu(h))
        return out
