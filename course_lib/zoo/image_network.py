"""The convolutional network behind the zoo's classifiers: residual blocks, features, and a head for each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.nn import BasicBlock, he_normal_, initialise

# Shape letters used in this file: N = images, S = their side, D = features, K = classes of a head.


class ImageNetwork(nn.Module):
    """Images to D features, and from those to logits for each of several questions ("which character?", "which face?").

    Group norms rather than batch norms: an image's features do not depend on the images beside it, in training either.

    Args:
        image_size: S.
        heads: Question -> number of its classes.
        widths: Channels of the residual blocks; the first keeps the image's size, each other one halves it.
        feature_width: D.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, 1, S, S)``, values in [0, 1]
        - output: question -> ``(N, K)``, logits

    Raises:
        ValueError: If there is no head or no width, or a width is no multiple of 8.

    Example:
        >>> network = ImageNetwork(8, {"digit": 10}, generator=torch.Generator().manual_seed(0))
        >>> network.features(torch.zeros(2, 1, 8, 8)).shape, network(torch.zeros(2, 1, 8, 8))["digit"].shape
        (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        image_size: int,
        heads: Mapping[str, int],
        *,
        widths: Sequence[int] = (16, 32, 64),
        feature_width: int = 64,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not heads or not widths or any(width % 8 for width in widths):
            raise ValueError(
                f"a network needs heads, and widths that are multiples of 8, got heads {dict(heads)} and "
                f"widths {tuple(widths)}."
            )
        blocks: list[nn.Module] = []
        num_in, side = 1, image_size
        for number, width in enumerate(widths):
            stride = 1 if number == 0 else 2
            norm = partial(nn.GroupNorm, 8)
            blocks.append(BasicBlock(num_in, width, stride=stride, norm=norm, generator=generator))
            num_in, side = width, -(-side // stride)
        self.image_size = image_size
        self.blocks = nn.Sequential(*blocks)
        self.to_features = _linear(num_in * side**2, feature_width, generator)
        self.heads = nn.ModuleDict({name: _linear(feature_width, num, generator) for name, num in heads.items()})

    def features(self, images: Tensor) -> Tensor:
        """Return ``(N, D)``: what the heads see, before the last activation."""
        if images.shape[1:] != (1, self.image_size, self.image_size):
            raise ValueError(
                f"this network needs images (N, 1, {self.image_size}, {self.image_size}), got {tuple(images.shape)}."
            )
        found: Tensor = self.to_features(self.blocks(images).flatten(1))
        return found

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every head."""
        seen = torch.relu(self.features(images))
        return {name: head(seen) for name, head in self.heads.items()}


def _linear(num_in: int, num_out: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(num_in, num_out, device="meta")  # there nothing is drawn
    return initialise(layer.to_empty(device=torch.get_default_device()), he_normal_, generator=generator)
