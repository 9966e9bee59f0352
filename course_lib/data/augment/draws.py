"""What all augmentations share: checks of what they are given, and a random number for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def check_images(images: Tensor, generator: torch.Generator) -> None:
    """Refuse what is not a batch of floating point images, or a generator on another device.

    Raises:
        ValueError: If so.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"augmentations need floating point images (N, C, H, W), got {images.dtype} of shape "
            f"{tuple(images.shape)}; divide whole numbers by 255, and add a channel with unsqueeze(1)."
        )
    if generator.device.type != images.device.type:
        raise ValueError(
            f"the generator is on {generator.device} and the images on {images.device}: make one there with "
            f"torch.Generator('{images.device}')."
        )


def check_range(name: str, bounds: tuple[float, float], *, above: float, most: float = math.inf) -> None:
    """Refuse a range that is empty, or not above ``above`` and at most ``most``.

    Raises:
        ValueError: If so.
    """
    low, high = bounds
    if not (above < low <= high <= most and math.isfinite(high)):
        limit = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"{name} must be (least, greatest), above {above}{limit}, got {bounds}.")


def as_range(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """Return a number as the range from itself to itself, and a range as it is.

    Raises:
        ValueError: If the range is empty or starts below 0.
    """
    low, high = (value, value) if isinstance(value, int | float) else value
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"{name} must be a number of 0 or more, or a range (least, greatest) of such, got {value}.")
    return low, high


def uniform(images: Tensor, generator: torch.Generator, bounds: tuple[float, float]) -> Tensor:
    """Draw one number an image; in float32 at least, where half precision would be too coarse. ``(N,)``."""
    dtype = torch.promote_types(images.dtype, torch.float32)
    drawn = torch.rand(len(images), generator=generator, device=images.device, dtype=dtype)
    return bounds[0] + (bounds[1] - bounds[0]) * drawn
