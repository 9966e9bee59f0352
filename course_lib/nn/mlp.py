"""A multilayer perceptron of any depth, with norms and skip connections to switch on and off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_lib.nn._layers import Activation, Norm, linear
from course_lib.nn.initialisers import Initialiser, he_normal_


class MLP(nn.Module):
    """Linear layers with an activation between any two: ``h = linear(activation(norm(h)))``, ``h + ...`` with skips.

    The skip spans one layer and leaves activation and norm inside the branch, so that with ``residual=False`` exactly
    the usual MLP remains: same layers, same parameters, same starting weights.

    Args:
        sizes: Widths from input to output; ``(64, 128, 128, 10)`` is three linear layers.
        activation: Any function of a tensor, such as ``torch.tanh``.
        norm: Makes the norm of a width, such as ``BatchNorm``, ``LayerNorm`` or ``partial(GroupNorm, 4)``. None: none.
        residual: A skip around each layer between two hidden ones of the same width; at least one must exist.
        initialiser: Of all weights; biases start at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(N, *)``, flattened to ``(N, sizes[0])``
        - output: ``(N, sizes[-1])``, no activation after the last layer

    Raises:
        ValueError: For fewer than two sizes, for a skip that fits nowhere, and for an input of another width.

    Example:
        >>> model = MLP((64, 32, 32, 10), generator=torch.Generator().manual_seed(0))
        >>> model(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])

    Reference: He, Zhang, Ren and Sun 2016, Identity mappings in deep residual networks,
    https://arxiv.org/abs/1603.05027 (the order of norm, activation and layer)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: Activation = torch.relu,
        norm: Norm | None = None,
        residual: bool = False,
        initialiser: Initialiser = he_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes needs an input and an output width, each at least 1, got {tuple(sizes)}.")
        self.sizes = tuple(sizes)
        hidden = self.sizes[1:-1]
        self.skips = [residual and one == next_one for one, next_one in pairwise(hidden)] + [False]
        if residual and not any(self.skips):
            raise ValueError(f"residual=True needs two hidden layers of one width in a row, got sizes {self.sizes}.")
        self.activation = activation
        self.linears = nn.ModuleList(
            linear(num_in, num_out, initialiser=initialiser, generator=generator)
            for num_in, num_out in pairwise(self.sizes)
        )
        self.norms = nn.ModuleList(nn.Identity() if norm is None else norm(width) for width in hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, one row for each of ``x``."""
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.sizes[0]:
            raise ValueError(f"this MLP takes rows of {self.sizes[0]} numbers, got {tuple(x.shape)}.")
        first, *rest = self.linears
        h: Tensor = first(x.flatten(1))
        for layer, norm, skip in zip(rest, self.norms, self.skips, strict=False):
            branch = layer(self.activation(norm(h)))
            h = h + branch if skip else branch
        return h
