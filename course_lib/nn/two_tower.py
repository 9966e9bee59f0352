"""CLIP's model: an image encoder and a caption encoder that meet in one space, and a learnt temperature."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn._precision import at_least_float32


class TwoTower(nn.Module):
    """Embeds images and captions on one unit sphere, where `course_lib.losses.clip_loss` compares them.

    The temperature is learnt as a logarithm, starting from CLIP's 0.07, and never falls below ``min_temperature``: CLIP
    keeps its inverse at 100 or less, because training becomes unstable otherwise. At the bound a gradient that would
    lower it further is dropped, one that raises it is not, so it can come back.

    Args:
        image_encoder: Images to ``(N, D)``, such as `ConvEncoder`.
        caption_encoder: Captions to ``(N, D)``, such as `CaptionEncoder`.
        temperature: At the start.
        min_temperature: Its lower bound.

    Shape:
        - images: whatever the image encoder takes, N rows
        - captions: whatever the caption encoder takes; their number may differ from N
        - output: image embeddings ``(N, D)`` and caption embeddings, all of length 1 (zeros stay zeros), and the
          temperature ``()``

    Raises:
        ValueError: If ``temperature`` lies below ``min_temperature``, or that is not positive, or the two encoders'
            embeddings differ in width.

    Example:
        >>> from course_lib.nn import CaptionEncoder, ConvEncoder
        >>> model = TwoTower(ConvEncoder(embedding_width=16), CaptionEncoder(50, embedding_width=16))
        >>> images, captions, temperature = model(torch.zeros(2, 1, 28, 28), torch.tensor([[3, 4], [5, 0]]))
        >>> images.shape, captions.shape, round(temperature.item(), 4)
        (torch.Size([2, 16]), torch.Size([2, 16]), 0.07)

    Reference: Radford et al. 2021, Learning transferable visual models from natural language supervision, section 2.5
    (temperature), https://arxiv.org/abs/2103.00020
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        caption_encoder: nn.Module,
        *,
        temperature: float = 0.07,
        min_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        if not 0 < min_temperature <= temperature < math.inf:
            raise ValueError(
                "a temperature must be finite and at least min_temperature, which must be positive, got temperature "
                f"{temperature!r} and min_temperature {min_temperature!r}."
            )
        self.image_encoder = image_encoder
        self.caption_encoder = caption_encoder
        self.min_temperature = min_temperature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    @property
    def temperature(self) -> Tensor:
        """The temperature, a scalar that gradients flow through."""
        bounded: Tensor = _AtLeast.apply(self.log_temperature, math.log(self.min_temperature))  # type: ignore[no-untyped-call]
        return bounded.exp()

    def forward(self, images: Tensor, captions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of images and captions, and the temperature to compare them at."""
        image_embeddings, caption_embeddings = self.embed_images(images), self.embed_captions(captions)
        if image_embeddings.shape[1:] != caption_embeddings.shape[1:]:
            raise ValueError(
                "both towers must end in one width, got image embeddings "
                f"{tuple(image_embeddings.shape)} and caption embeddings {tuple(caption_embeddings.shape)}."
            )
        return image_embeddings, caption_embeddings, self.temperature

    def embed_images(self, images: Tensor) -> Tensor:
        """Return the embeddings of images, each of length 1."""
        return _on_the_sphere(self.image_encoder(images))

    def embed_captions(self, captions: Tensor) -> Tensor:
        """Return the embeddings of captions, each of length 1."""
        return _on_the_sphere(self.caption_encoder(captions))


def _on_the_sphere(rows: Tensor) -> Tensor:
    """Scale rows to length 1. One of zeros stays, without a gradient: that of its direction would be 10^12 and more."""
    rows = at_least_float32(rows)
    return F.normalize(rows, dim=-1).masked_fill((rows == 0).all(dim=-1, keepdim=True), 0)


class _AtLeast(torch.autograd.Function):
    """The larger of a value and a bound. Below the bound the gradient passes only if a step along it leads back up."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.bound = bound
        return value.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        (gradient,) = gradients
        return torch.where((value <= ctx.bound) & (gradient > 0), 0, gradient), None
