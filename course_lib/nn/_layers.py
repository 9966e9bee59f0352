"""Torch's linear and convolutional layers, drawn from a given generator and not from the global one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.nn.initialisers import Initialiser, initialise
from course_lib.nn.layer_norm import LayerNorm
from course_lib.nn.rms_norm import RMSNorm

Activation = Callable[[Tensor], Tensor]
Norm = Callable[[int], nn.Module]


def linear(
    num_in: int, num_out: int, *, bias: bool = True, initialiser: Initialiser, generator: torch.Generator | None
) -> nn.Linear:
    """Return a linear layer on torch's default device, its bias zero."""
    layer = nn.Linear(num_in, num_out, bias=bias, device="meta")  # there nothing is drawn
    return initialise(layer.to_empty(device=torch.get_default_device()), initialiser, generator=generator)


def convolution(
    num_in: int,
    num_out: int,
    *,
    kernel_size: int,
    stride: int = 1,
    bias: bool,
    initialiser: Initialiser,
    generator: torch.Generator | None,
) -> nn.Conv2d:
    """Return a convolution on torch's default device that keeps the image's size at stride 1, its bias zero."""
    layer = nn.Conv2d(
        num_in,
        num_out,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=bias,
        device="meta",
    )
    return initialise(layer.to_empty(device=torch.get_default_device()), initialiser, generator=generator)


def channel_norm(norm: Norm | None, num_channels: int) -> nn.Module:
    """Return the norm for images with that many channels; the identity for None."""
    if norm is None:
        return nn.Identity()
    layer = norm(num_channels)
    if isinstance(layer, (LayerNorm, RMSNorm, nn.LayerNorm, nn.RMSNorm)):
        raise ValueError(
            f"{type(layer).__name__} normalises the last axis, which for images (N, C, H, W) is a row of pixels: "
            "use partial(GroupNorm, 1) to normalise over channels and pixels together."
        )
    return layer
