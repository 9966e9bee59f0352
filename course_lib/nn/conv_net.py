"""A small convolutional net for small images: convolution, activation, pooling, again, then one linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn._layers import Activation, Norm, channel_norm, convolution, linear
from course_lib.nn.initialisers import Initialiser, he_normal_


class ConvNet(nn.Module):
    """For each entry of ``widths`` a 3x3 convolution, norm, activation and 2x2 max pooling; then one linear layer.

    What it assumes of images (its inductive bias): what matters is local, and looks the same everywhere.

    Args:
        image_size: Height and width of the (square) images: 8 for ``digits``, 28 for ``mnist_small``.
        num_classes: Outputs.
        num_channels: Of the images; 1 for grey, 3 for colour.
        widths: Channels after each convolution; each entry halves the image (rounding down).
        activation: Any function of a tensor.
        norm: Makes the norm of a number of channels: ``BatchNorm``, ``partial(GroupNorm, 4)``. None: none.
        initialiser: Of all weights; biases start at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, num_channels, image_size, image_size)``
        - output: ``(N, num_classes)``, logits

    Raises:
        ValueError: If nothing is left of the image after the pooling, or the input is no batch of such images.

    Example:
        >>> ConvNet(8)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
        >>> sum(p.numel() for p in ConvNet(28).parameters())  # 16*9+16 + 32*16*9+32 + 10*32*7*7+10
        20490

    Reference: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition
    """

    def __init__(
        self,
        image_size: int,
        *,
        num_classes: int = 10,
        num_channels: int = 1,
        widths: Sequence[int] = (16, 32),
        activation: Activation = torch.relu,
        norm: Norm | None = None,
        initialiser: Initialiser = he_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        pooled_size = image_size // 2 ** len(widths)
        if not widths or pooled_size < 1:
            raise ValueError(
                f"widths {tuple(widths)} halve images of {image_size} pixels {len(widths)} times: give at least one "
                "width, and few enough that a pixel is left."
            )
        self.image_shape = (num_channels, image_size, image_size)
        self.activation = activation
        self.convs = nn.ModuleList(
            convolution(num_in, num_out, kernel_size=3, bias=norm is None, initialiser=initialiser, generator=generator)
            for num_in, num_out in zip([num_channels, *widths], widths, strict=False)
        )
        self.norms = nn.ModuleList(channel_norm(norm, width) for width in widths)
        self.head = linear(widths[-1] * pooled_size**2, num_classes, initialiser=initialiser, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each image."""
        if x.shape[1:] != self.image_shape:
            raise ValueError(f"this ConvNet needs images (N, {str(self.image_shape)[1:]}, got {tuple(x.shape)}.")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool2d(self.activation(norm(conv(x))), 2)
        logits: Tensor = self.head(x.flatten(1))
        return logits
