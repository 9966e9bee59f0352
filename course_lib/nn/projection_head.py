"""What stands between an encoder and a contrastive loss, and is thrown away after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn._layers import Norm
from course_lib.nn.mlp import MLP


class ProjectionHead(nn.Module):
    """An `MLP` from embeddings to the space in which views are compared: linear, norm, ReLU, linear.

    The loss makes its input forget what the augmentations change (colour, place); with a head in between, the encoder's
    own output need not. SimSiam's predictor is such a head too, a narrow one.

    Args:
        num_in: Width of the encoder's embeddings.
        num_hidden: Width of the hidden layers.
        num_out: Width of the projections.
        num_layers: Linear layers; SimCLR has 2, SimSiam 3.
        norm: Makes the norm of a width after each hidden layer: `BatchNorm`, ``LayerNorm``. None: none.
        norm_output: Whether there is a norm after the last layer too, as in SimSiam's projector.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, num_in)``
        - output: ``(N, num_out)``, not scaled to length 1: the losses do that

    Raises:
        ValueError: If a width or ``num_layers`` is less than 1, ``norm_output`` is asked for without a norm, or the
            input has another width.

    Example:
        >>> ProjectionHead(128, 128, 64)(torch.zeros(5, 128)).shape
        torch.Size([5, 64])

    Reference: Chen, Kornblith, Norouzi and Hinton 2020, A simple framework for contrastive learning of visual
    representations, section 4.2, https://arxiv.org/abs/2002.05709
    """

    def __init__(
        self,
        num_in: int,
        num_hidden: int,
        num_out: int,
        *,
        num_layers: int = 2,
        norm: Norm | None = None,
        norm_output: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}.")
        if norm_output and norm is None:
            raise ValueError("norm_output=True needs a norm: give norm=BatchNorm, say.")
        self.mlp = MLP((num_in, *[num_hidden] * (num_layers - 1), num_out), norm=norm, generator=generator)
        self.output_norm = norm(num_out) if norm is not None and norm_output else nn.Identity()

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the projection of each embedding."""
        projections: Tensor = self.output_norm(self.mlp(embeddings))
        return projections
