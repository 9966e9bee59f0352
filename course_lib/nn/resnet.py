"""The small residual net that He et al. trained on CIFAR-10: 6n + 2 layers, three sizes of image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn._layers import Activation, Norm, channel_norm, convolution, linear
from course_lib.nn.basic_block import BasicBlock
from course_lib.nn.batch_norm import BatchNorm
from course_lib.nn.initialisers import Initialiser, he_normal_


class ResNet(nn.Module):
    """A 3x3 convolution, three stages of n `BasicBlock`, global average pooling, one linear layer: 6n + 2 in all.

    The second and third stage halve the image and double the channels.

    Args:
        depth: Layers with weights on the main path: 8, 14, 20, 32, 44, 56, ...
        num_classes: Outputs.
        num_channels: Of the images; 1 for grey, 3 for colour.
        width: Channels of the first stage; the paper's 16.
        activation: Any function of a tensor.
        norm: Makes the norm of a number of channels, as for `BasicBlock`. None: none.
        residual: False gives the plain net of the same shape.
        initialiser: Of all weights; biases start at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, num_channels, H, W)``, any size
        - output: ``(N, num_classes)``, logits

    Raises:
        ValueError: If ``depth`` is not 6n + 2 with n >= 1, or the input is no batch of such images.

    Example:
        >>> ResNet(8, width=4)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])

    Reference: He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, section 4.2,
    https://arxiv.org/abs/1512.03385
    """

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int = 10,
        num_channels: int = 1,
        width: int = 16,
        activation: Activation = torch.relu,
        norm: Norm | None = BatchNorm,
        residual: bool = True,
        initialiser: Initialiser = he_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 26, 32, ...), got {depth}.")
        self.num_channels = num_channels
        self.activation = activation
        self.stem = convolution(
            num_channels, width, kernel_size=3, bias=norm is None, initialiser=initialiser, generator=generator
        )
        self.stem_norm = channel_norm(norm, width)
        stages = [width, 2 * width, 4 * width]
        outs = [channels for channels in stages for _ in range((depth - 2) // 6)]
        self.blocks = nn.Sequential(
            *(
                BasicBlock(
                    num_in,
                    num_out,
                    stride=1 if num_in == num_out else 2,
                    activation=activation,
                    norm=norm,
                    residual=residual,
                    initialiser=initialiser,
                    generator=generator,
                )
                for num_in, num_out in zip([width, *outs], outs, strict=False)
            )
        )
        self.head = linear(stages[-1], num_classes, initialiser=initialiser, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each image."""
        if x.ndim != 4 or x.shape[1] != self.num_channels:
            raise ValueError(f"this ResNet needs images (N, {self.num_channels}, H, W), got {tuple(x.shape)}.")
        features = self.blocks(self.activation(self.stem_norm(self.stem(x))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits
