"""Put augmentations together, and look at every image twice."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

# Shape letters used in this file: N = images, C = channels, H = height, W = width.


class Augment(Protocol):
    """A function from images to changed images of the same shape, its randomness passed in."""

    def __call__(self, images: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return changed copies of ``images``."""


def compose(*augments: Augment) -> Augment:
    """Return one augmentation that applies ``augments`` in the order given, all drawing from one generator.

    Set parameters with ``functools.partial``; ``compose()`` changes nothing.

    Example:
        >>> from functools import partial
        >>> from course_lib.data.augment import horizontal_flip
        >>> twice = compose(partial(horizontal_flip, probability=1.0), partial(horizontal_flip, probability=1.0))
        >>> twice(torch.tensor([[[[1.0, 2.0]]]]), generator=torch.Generator())
        tensor([[[[1., 2.]]]])
    """

    def composed(images: Tensor, *, generator: torch.Generator) -> Tensor:
        for augment in augments:
            images = augment(images, generator=generator)
        return images

    return composed


def two_views(images: Tensor, augment: Augment, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augment every image twice: the positive pairs of contrastive learning.

    Row ``i`` of both results comes from row ``i`` of ``images``, with parameters drawn independently.

    Args:
        images: What to look at twice.
        augment: Applied once for each view.
        generator: Source of randomness, on the images' device.

    Shape:
        - images: ``(N, C, H, W)``
        - output: two of the same

    Reference: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, sec. 2.1,
    https://arxiv.org/abs/2002.05709
    """
    return augment(images, generator=generator), augment(images, generator=generator)
