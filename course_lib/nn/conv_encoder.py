"""A small convolutional encoder: images of any size to embeddings of one width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn._layers import Activation, Norm, channel_norm, convolution, linear
from course_lib.nn.initialisers import Initialiser, he_normal_

SMALLEST = 4  # pixels: two poolings leave one


class ConvEncoder(nn.Module):
    """Three 3x3 convolutions, 2x2 max pooling after the first two, averages over a grid of areas, one linear layer.

    The grid keeps where things are: with ``grid=2`` the left half of an image is told from the right. With ``grid=1``
    (global average pooling) it would hardly matter where something stands.

    Args:
        channels: Of the images; 1 for grey, 3 for colour.
        width: Channels after the first convolution; the second doubles them, the third again.
        embedding_width: Of the output.
        grid: Areas on each side that features are averaged over.
        norm: Makes the norm of a number of channels: ``torch.nn.BatchNorm2d``, ``partial(GroupNorm, 4)``. None: none.
            With batch norm the rows of a batch, and of a rank, depend on each other.
        activation: Any function of a tensor.
        initialiser: Of all weights; biases start at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, channels, H, W)``, H and W at least 4
        - output: ``(N, embedding_width)``, of any length: not normalised

    Raises:
        ValueError: If a setting is not positive, or the input is no batch of such images.

    Example:
        >>> encoder = ConvEncoder(width=8, embedding_width=16)
        >>> encoder(torch.zeros(2, 1, 28, 28)).shape, encoder(torch.zeros(2, 1, 8, 16)).shape
        (torch.Size([2, 16]), torch.Size([2, 16]))
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        embedding_width: int = 128,
        *,
        grid: int = 2,
        norm: Norm | None = None,
        activation: Activation = torch.relu,
        initialiser: Initialiser = he_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        settings = {"channels": channels, "width": width, "embedding_width": embedding_width, "grid": grid}
        for name, value in settings.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.channels = channels
        self.embedding_width = embedding_width
        self.grid = grid
        self.activation = activation
        widths = (width, 2 * width, 4 * width)
        self.convs = nn.ModuleList(
            convolution(num_in, num_out, kernel_size=3, bias=norm is None, initialiser=initialiser, generator=generator)
            for num_in, num_out in zip((channels, *widths), widths, strict=False)
        )
        self.norms = nn.ModuleList(channel_norm(norm, num_channels) for num_channels in widths)
        self.head = linear(widths[-1] * grid**2, embedding_width, initialiser=initialiser, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embedding of each image."""
        if images.ndim != 4 or images.shape[1] != self.channels or min(images.shape[2:]) < SMALLEST:
            raise ValueError(
                f"this ConvEncoder needs images (N, {self.channels}, H, W) of at least {SMALLEST} x {SMALLEST} pixels, "
                f"got {tuple(images.shape)}."
            )
        h = images
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            h = self.activation(norm(conv(h)))
            if place < 2:
                h = F.max_pool2d(h, 2)
        embeddings: Tensor = self.head(F.adaptive_avg_pool2d(h, self.grid).flatten(1))
        return embeddings
