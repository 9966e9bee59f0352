"""Where things are in an image: crop, affine map, flip."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .draws import check_images, check_range, uniform

# Shape letters used in this file: N = images, C = channels, H = height, W = width.


def random_crop(
    images: Tensor,
    *,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Cut a random rectangle out of each image and stretch it to the image's size.

    Two views of one image then overlap in part only, so that whoever matches them must know what belongs together.
    A rectangle that its proportions would make longer than the image is cut to the image's side. Resizing is
    bilinear.

    Args:
        images: What to crop.
        generator: Source of randomness, on the images' device.
        scale: Least and greatest share of the area that is kept, within (0, 1].
        ratio: Least and greatest proportion of width to height, relative to the image's own; drawn on a
            logarithmic scale, so that wide and tall are alike.

    Shape:
        - images, output: ``(N, C, H, W)``, floating point

    Raises:
        ValueError: If the images are not such a batch, or a range is empty or out of bounds.

    Example:
        >>> random_crop(torch.ones(2, 1, 4, 4), generator=torch.Generator().manual_seed(0)).mean().item()
        1.0

    Reference: Szegedy et al. 2015, Going Deeper with Convolutions, sec. 6, https://arxiv.org/abs/1409.4842
    """
    check_images(images, generator)
    check_range("scale", scale, above=0.0, most=1.0)
    check_range("ratio", ratio, above=0.0)
    share = uniform(images, generator, scale)
    proportion = uniform(images, generator, (math.log(ratio[0]), math.log(ratio[1]))).exp()
    width, height = (share * proportion).sqrt().clamp(max=1), (share / proportion).sqrt().clamp(max=1)
    centre_x = (1 - width) * uniform(images, generator, (-1.0, 1.0))  # grids count from -1 to 1
    centre_y = (1 - height) * uniform(images, generator, (-1.0, 1.0))
    zero = torch.zeros_like(width)
    theta = _matrix([[width, zero, centre_x], [zero, height, centre_y]])
    return _sample(images, theta, padding="border")


def random_affine(
    images: Tensor,
    *,
    generator: torch.Generator,
    degrees: float = 10.0,
    translate: float = 0.1,
    scale: tuple[float, float] = (0.9, 1.1),
    shear: float = 5.0,
) -> Tensor:
    """Shear, scale, turn and shift each image about its centre; what comes in from outside is 0.

    Args:
        images: What to change.
        generator: Source of randomness, on the images' device.
        degrees: Greatest turn, either way.
        translate: Greatest shift in each direction, as a share of the side.
        scale: Least and greatest factor; above 1 enlarges what is shown.
        shear: Greatest slant in degrees, either way, as from upright to italic; below 90.

    Shape:
        - images, output: ``(N, C, H, W)``, floating point

    Raises:
        ValueError: If the images are not such a batch, or a number is out of bounds.

    Example:
        >>> still = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "shear": 0.0}
        >>> random_affine(torch.eye(2)[None, None], generator=torch.Generator(), **still)
        tensor([[[[1., 0.],
                  [0., 1.]]]])
    """
    check_images(images, generator)
    check_range("scale", scale, above=0.0)
    if not (0 <= degrees <= 180 and 0 <= translate <= 1 and 0 <= shear < 90):
        raise ValueError(
            "random_affine needs degrees from 0 to 180, translate from 0 to 1 and shear from 0 to below 90, "
            f"got degrees={degrees}, translate={translate} and shear={shear}."
        )
    turn = uniform(images, generator, (-math.radians(degrees), math.radians(degrees)))
    slant = uniform(images, generator, (-math.radians(shear), math.radians(shear))).tan()
    factor = uniform(images, generator, scale)
    shift_x = 2 * uniform(images, generator, (-translate, translate))  # grids count from -1 to 1: a side is 2 long
    shift_y = 2 * uniform(images, generator, (-translate, translate))
    # grid_sample asks where a pixel comes from, so this is the inverse: shift back, turn back, shrink, unslant.
    cos, sin = turn.cos() / factor, turn.sin() / factor
    xx, xy, yx, yy = cos - slant * sin, sin + slant * cos, -sin, cos
    tall = images.shape[-2] / images.shape[-1]  # angles are meant in pixels, the grid's units are half sides
    xy, yx = xy * tall, yx / tall
    theta = _matrix(
        [[xx, xy, -(xx * shift_x + xy * shift_y)], [yx, yy, -(yx * shift_x + yy * shift_y)]],
    )
    return _sample(images, theta, padding="zeros")


def horizontal_flip(images: Tensor, *, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Mirror some of the images left to right.

    Right for photographs, wrong for writing: a mirrored R is no letter, and left becomes right.

    Args:
        images: What to change.
        generator: Source of randomness, on the images' device.
        probability: Share of the images to mirror, on average.

    Shape:
        - images, output: ``(N, C, H, W)``, floating point

    Raises:
        ValueError: If the images are not such a batch, or ``probability`` is not from 0 to 1.

    Example:
        >>> horizontal_flip(torch.tensor([[[[1.0, 2.0, 3.0]]]]), generator=torch.Generator(), probability=1.0)
        tensor([[[[3., 2., 1.]]]])
    """
    check_images(images, generator)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be from 0 to 1, got {probability}.")
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < probability
    return torch.where(mirrored, images.flip(-1), images)


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _sample(images: Tensor, theta: Tensor, *, padding: str) -> Tensor:
    """Take each pixel from where ``theta`` ``(N, 2, 3)`` says that it comes from, between pixels bilinearly."""
    if not len(images):  # a rank for which no row is left; torch makes no grid for it
        return images.clone()
    with torch.autocast(images.device.type, enabled=False):
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images.to(grid.dtype), grid, padding_mode=padding, align_corners=False).to(images.dtype)
