"""The convolutional residual block of He et al.: two 3x3 convolutions and a skip around them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn._layers import Activation, Norm, channel_norm, convolution
from course_lib.nn.batch_norm import BatchNorm
from course_lib.nn.initialisers import Initialiser, he_normal_


class BasicBlock(nn.Module):
    """``activation(shortcut(x) + norm2(conv2(activation(norm1(conv1(x))))))``.

    The shortcut is the identity where input and output have one shape, else a 1x1 convolution with the same stride and
    a norm of its own (option B of the paper; its CIFAR nets pad with zeros instead, option A).

    Args:
        num_in: Channels of the input.
        num_out: Channels of the output.
        stride: Of the first convolution and of the projection; 2 halves the image.
        activation: Any function of a tensor.
        norm: Makes the norm of a number of channels: ``BatchNorm``, ``partial(GroupNorm, 4)``. None: none, and the
            convolutions get a bias instead.
        residual: False leaves the shortcut and its projection out: the plain net of the same shape.
        initialiser: Of all weights; biases start at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, num_in, H, W)``
        - output: ``(N, num_out, ceil(H / stride), ceil(W / stride))``

    Raises:
        ValueError: For a norm of the last axis (LayerNorm, RMSNorm), which is no channel here.

    Example:
        >>> BasicBlock(16, 32, stride=2)(torch.zeros(2, 16, 8, 8)).shape
        torch.Size([2, 32, 4, 4])

    Reference: He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, eq. 1 and 2,
    https://arxiv.org/abs/1512.03385
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        *,
        stride: int = 1,
        activation: Activation = torch.relu,
        norm: Norm | None = BatchNorm,
        residual: bool = True,
        initialiser: Initialiser = he_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.residual = residual

        def conv(channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
            return convolution(
                channels,
                num_out,
                kernel_size=kernel_size,
                stride=stride,
                bias=norm is None,  # a norm has a bias of its own, and takes this one out
                initialiser=initialiser,
                generator=generator,
            )

        self.conv1 = conv(num_in, 3, stride)
        self.norm1 = channel_norm(norm, num_out)
        self.conv2 = conv(num_out, 3, 1)
        self.norm2 = channel_norm(norm, num_out)
        self.shortcut: nn.Module = nn.Identity()
        if residual and (stride > 1 or num_in != num_out):
            self.shortcut = nn.Sequential(conv(num_in, 1, stride), channel_norm(norm, num_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        branch = self.activation(self.norm1(self.conv1(x)))
        branch = self.norm2(self.conv2(branch))
        return self.activation(self.shortcut(x) + branch if self.residual else branch)
