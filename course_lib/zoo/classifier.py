"""A trained classifier of small images: what it takes them for, and the features by which it does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.zoo.image_card import ImageCard
from course_lib.zoo.image_network import ImageNetwork

_AT_ONCE = 500  # images

# Shape letters used in this file: N = images, S = their side, D = features, K = classes.


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A network with heads for one or more questions, and its card.

    Everything is computed in float32 without gradients, some images at a time.

    Args:
        network: Maps images to logits.
        card: What is known of it: its data, how often it is right, how it was made.

    Raises:
        ValueError: If the card speaks of other classes than the network has.
    """

    network: ImageNetwork
    card: ImageCard

    def __post_init__(self) -> None:
        built = {name: head.out_features for name, head in self.network.heads.items()}
        if (stated := {name: len(classes) for name, classes in self.card.classes.items()}) != built:
            raise ValueError(f"the card speaks of {stated} classes, the network has {built}.")

    @property
    def heads(self) -> dict[str, int]:
        """Question -> number of classes; the first is asked by default."""
        return {name: len(classes) for name, classes in self.card.classes.items()}

    def features(self, images: Tensor) -> Tensor:
        """Return what the network makes of images before it decides: for distances between sets of images.

        Shape:
            - images: ``(N, 1, S, S)``, values in [0, 1]; generated ones may leave that range a little
            - output: ``(N, D)``, float32, on the device of the network

        Raises:
            ValueError: If the images are not of the size that the network was trained on.
        """
        with torch.no_grad():
            return torch.cat([self.network.features(part) for part in self._parts(images)])

    def logits(self, images: Tensor, head: str | None = None) -> Tensor:
        """Return unnormalised log-probabilities of the classes of ``head``, by default the first.

        Shape:
            - images: ``(N, 1, S, S)``, values in [0, 1]
            - output: ``(N, K)``, float32

        Raises:
            ValueError: If there is no such head, or the images are of another size.
        """
        asked = next(iter(self.heads)) if head is None else head
        if asked not in self.heads:
            raise ValueError(f"{self.card.name} has no head {asked!r}; it has {', '.join(self.heads)}.")
        with torch.no_grad():
            return torch.cat([self.network(part)[asked] for part in self._parts(images)])

    def predict(self, images: Tensor, head: str | None = None) -> Tensor:
        """Return the likeliest class of each image.

        Shape:
            - images: ``(N, 1, S, S)``, values in [0, 1]
            - output: ``(N,)``, int64

        Raises:
            ValueError: As `logits`.
        """
        return self.logits(images, head).argmax(-1)

    def _parts(self, images: Tensor) -> list[Tensor]:
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"{self.card.name} takes floating-point images (N, 1, S, S) in [0, 1], got {images.dtype} of shape "
                f"{tuple(images.shape)}."
            )
        device = next(self.network.parameters()).device
        return [
            images[first : first + _AT_ONCE].to(device, torch.float32)
            for first in range(0, max(1, len(images)), _AT_ONCE)
        ]
