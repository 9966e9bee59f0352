"""What the pixels are like: noise and blur."""

from __future__ import annotations

import torch
from torch import Tensor

from .draws import as_range, check_images, uniform

# Shape letters used in this file: N = images, C = channels, H = height, W = width.


def add_noise(images: Tensor, *, generator: torch.Generator, std: float | tuple[float, float] = (0.0, 0.2)) -> Tensor:
    """Add Gaussian noise to every pixel, and clamp to [0, 1].

    Args:
        images: What to change, in [0, 1].
        generator: Source of randomness, on the images' device.
        std: Standard deviation, or the range from which each image's own is drawn.

    Shape:
        - images, output: ``(N, C, H, W)``, floating point

    Raises:
        ValueError: If the images are not such a batch, or ``std`` is negative or an empty range.

    Example:
        >>> image = torch.full((1, 1, 2, 2), 0.5)
        >>> torch.equal(add_noise(image, generator=torch.Generator(), std=0.0), image)
        True
    """
    check_images(images, generator)
    spread = uniform(images, generator, as_range("std", std)).reshape(-1, 1, 1, 1)
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=spread.dtype)
    return (images + spread * noise).clamp(0, 1).to(images.dtype)


def gaussian_blur(
    images: Tensor, *, generator: torch.Generator, sigma: float | tuple[float, float] = (0.1, 1.5)
) -> Tensor:
    """Blur each image with a Gaussian of its own width.

    At the border the weights of the pixels that exist are scaled up to sum to 1, so that an even image stays even
    and nothing is made up beyond the edge.

    Args:
        images: What to change.
        generator: Source of randomness, on the images' device.
        sigma: Width in pixels, above 0, or the range from which each image's own is drawn.

    Shape:
        - images, output: ``(N, C, H, W)``, floating point

    Raises:
        ValueError: If the images are not such a batch, or ``sigma`` is not above 0 or an empty range.

    Example:
        >>> dot = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> [round(value, 2) for value in gaussian_blur(dot, generator=torch.Generator(), sigma=0.6).flatten().tolist()]
        [0.0, 0.17, 0.66, 0.17, 0.0]
    """
    check_images(images, generator)
    low, high = as_range("sigma", sigma)
    if low <= 0:
        raise ValueError(f"sigma must be above 0, got {sigma}; leave gaussian_blur out for no blur.")
    width = uniform(images, generator, (low, high))
    rows, columns = (_blur_matrix(side, width) for side in images.shape[-2:])
    with torch.autocast(images.device.type, enabled=False):  # rounding to bf16 would be noise of its own
        return (rows @ images.to(rows.dtype) @ columns.mT).to(images.dtype)


def _blur_matrix(side: int, sigma: Tensor) -> Tensor:
    """Return the weights with which pixels of a line mix, ``(N, 1, side, side)``; each row sums to 1."""
    place = torch.arange(side, device=sigma.device, dtype=sigma.dtype)
    distance = (place[:, None] - place[None, :]) / sigma.reshape(-1, 1, 1, 1)
    return torch.softmax(-distance.square() / 2, dim=-1)
