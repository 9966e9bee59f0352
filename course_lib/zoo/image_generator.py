"""A trained generator of small images: classes in, images out, by following a learnt velocity from noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.diffusion import flow_heun, guided
from course_lib.nn.unet import UNet
from course_lib.zoo.image_card import ImageCard

_AT_ONCE = 250  # images

# Shape letters used in this file: N = images, S = their side.


@dataclass(frozen=True, slots=True, eq=False)
class ImageGenerator:
    """A U-Net trained by flow matching, and its card.

    Args:
        network: Maps noisy images in [-1, 1], times and labels to velocities: for samplers of your own choice.
        card: What is known of it: its data, how good its images are, how it was made.

    Raises:
        ValueError: If the card speaks of no or several kinds of classes.
    """

    network: UNet
    card: ImageCard

    def __post_init__(self) -> None:
        if len(self.card.classes) != 1:
            raise ValueError(f"a generator has one kind of classes, the card names {list(self.card.classes)}.")

    @property
    def classes(self) -> list[str]:
        """Name of class 0, class 1, and so on."""
        return next(iter(self.card.classes.values()))

    @property
    def image_size(self) -> int:
        """The side of the images that it was trained on."""
        return int(self.card.training["image_size"])

    def sample(
        self, labels: Tensor | Sequence[int], *, num_steps: int = 10, guidance: float = 1.5, seed: int = 0
    ) -> Tensor:
        """Return one image for each label.

        Heun's method, so the network is asked twice a step, and with guidance with and without the class.

        Args:
            labels: The classes asked for; -1 for any.
            num_steps: More are nearer to what the model has learnt, and take longer.
            guidance: 1 for none; above that images look more like their class, and more like each other.
            seed: The same seed gives the same images, whatever is asked for beside: image i depends on the seed, on i
                and on its label.

        Shape:
            - labels: ``(N,)``, int64 or a list of whole numbers
            - output: ``(N, 1, S, S)``, float32 in [0, 1], on the device of the network

        Raises:
            ValueError: If labels are no classes of this model.
        """
        labels = torch.as_tensor(labels)
        if labels.ndim != 1 or labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64 of shape (N,), got {labels.dtype} of shape {tuple(labels.shape)}.")
        if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise ValueError(
                f"labels must lie in 0 to {len(self.classes) - 1}, or be -1 for any, got {int(labels.min())} to "
                f"{int(labels.max())}."
            )
        device = next(self.network.parameters()).device
        shape = (len(labels), 1, self.image_size, self.image_size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
        images = [noise[:0]]
        for first in range(0, len(labels), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            velocity = guided(self.network, labels[some].to(device), guidance)
            images.append(flow_heun(velocity, noise[some], num_steps=num_steps))
        return (torch.cat(images).clamp(-1, 1) + 1) / 2
