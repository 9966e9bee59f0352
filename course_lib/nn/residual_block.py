"""A residual block of two linear layers: the input goes on unchanged, and a correction is added."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn._layers import Activation, Norm, linear
from course_lib.nn.initialisers import Initialiser, he_normal_


class ResidualBlock(nn.Module):
    """``x + linear2(activation(norm2(linear1(activation(norm1(x))))))``, the pre-norm order.

    The gradient reaches ``x`` through the sum as it is, whatever the branch does to it. Stacked with
    ``nn.Sequential``; the first block wants a linear layer in front, the last a norm and activation behind.

    Args:
        width: D, of input, hidden layer and output.
        activation: Any function of a tensor.
        norm: Makes the norm of a width, such as ``LayerNorm``. None: none.
        residual: False leaves the skip out: the plain net of the same shape.
        initialiser: Of both weights; biases start at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input, output: ``(N, D)``; other leading axes too, if the norm allows them

    Example:
        >>> from course_lib.nn import LayerNorm
        >>> block = ResidualBlock(3, norm=LayerNorm)
        >>> x = torch.ones(2, 3)
        >>> bool((block(x) == x).all())  # a constant row is normalised to 0, and biases start at 0
        True

    Reference: He, Zhang, Ren and Sun 2016, Identity mappings in deep residual networks, fig. 1b,
    https://arxiv.org/abs/1603.05027
    """

    def __init__(
        self,
        width: int,
        *,
        activation: Activation = torch.relu,
        norm: Norm | None = None,
        residual: bool = True,
        initialiser: Initialiser = he_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.residual = residual
        self.norm1 = nn.Identity() if norm is None else norm(width)
        self.linear1 = linear(width, width, initialiser=initialiser, generator=generator)
        self.norm2 = nn.Identity() if norm is None else norm(width)
        self.linear2 = linear(width, width, initialiser=initialiser, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus the branch, or the branch alone."""
        branch: Tensor = self.linear1(self.activation(self.norm1(x)))
        branch = self.linear2(self.activation(self.norm2(branch)))
        return x + branch if self.residual else branch
