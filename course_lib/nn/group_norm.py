"""Group norm: within each row, groups of channels are brought to mean 0 and variance 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn._precision import at_least_float32


class GroupNorm(nn.Module):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, statistics over a group of channels and all positions of a row.

    For images at batch sizes too small for batch norm. One group normalises over all channels and positions together,
    as many groups as channels is instance norm. The variance is the biased one (divided by n). Parameters and names are
    those of ``torch.nn.GroupNorm``. Statistics of half-precision inputs are taken in float32; the output has the
    input's dtype.

    Args:
        num_groups: G; must divide ``num_channels``. Use ``partial(GroupNorm, 4)`` where a norm of C channels is asked.
        num_channels: C.
        eps: Added to the variance.
        affine: Whether to learn ``weight`` (starts at 1) and ``bias`` (starts at 0), one entry per channel.

    Shape:
        - input, output: ``(N, C)`` or ``(N, C, *positions)``

    Raises:
        ValueError: If the groups do not divide the channels, or an input has another number of channels.

    Example:
        >>> GroupNorm(2, 4)(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).round(decimals=3).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Reference: Wu and He 2018, Group normalization, eq. 7, https://arxiv.org/abs/1803.08494
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, num_groups: int, num_channels: int, *, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(f"num_groups must divide num_channels, got {num_groups} for {num_channels} channels.")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.register_parameter("weight", nn.Parameter(torch.empty(num_channels)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(num_channels)) if affine else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            self.weight.fill_(1)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the groups of each row of ``x``."""
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm needs (N, {self.num_channels}, ...), got {tuple(x.shape)}.")
        in_group = self.num_channels // self.num_groups
        values = at_least_float32(x).reshape(len(x), self.num_groups, in_group, *x.shape[2:])  # (N, G, C/G, *positions)
        axes = tuple(range(2, values.ndim))
        centred = values - values.mean(dim=axes, keepdim=True)
        var = centred.square().mean(dim=axes, keepdim=True)
        out = (centred * torch.rsqrt(var + self.eps)).reshape(x.shape)
        per_channel = (1, -1, *[1] * (x.ndim - 2))
        if self.weight is not None:
            out = out * self.weight.view(per_channel)
        if self.bias is not None:
            out = out + self.bias.view(per_channel)
        return out.to(x.dtype)

    def extra_repr(self) -> str:
        """Show the settings when the module is printed."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"
