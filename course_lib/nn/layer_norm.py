"""Layer norm: each row is brought to mean 0 and variance 1 over its own features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.nn._precision import at_least_float32


class LayerNorm(nn.Module):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and variance over the last axes of each row.

    No row looks at another, so training and evaluation are the same and batches of one are fine. The variance is the
    biased one (divided by n). Parameters and names are those of ``torch.nn.LayerNorm``. Statistics of half-precision
    inputs are taken in float32; the output has the input's dtype.

    Args:
        normalized_shape: The last axes of the input; an integer stands for one axis.
        eps: Added to the variance.
        elementwise_affine: Whether to learn ``weight`` (starts at 1) and ``bias`` (starts at 0), one entry per feature.
        bias: False leaves the bias out.

    Shape:
        - input, output: ``(*, *normalized_shape)``

    Raises:
        ValueError: If ``normalized_shape`` has no axis, or an input's last axes are others.

    Example:
        >>> LayerNorm(2)(torch.tensor([[1.0, 3.0], [10.0, 30.0]])).round(decimals=3).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]

    Reference: Ba, Kiros and Hinton 2016, Layer normalization, eq. 3 and 4, https://arxiv.org/abs/1607.06450
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        *,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not self.normalized_shape:
            raise ValueError("normalized_shape needs at least one axis, got ().")
        self.eps = eps
        shape = self.normalized_shape
        self.register_parameter("weight", nn.Parameter(torch.empty(shape)) if elementwise_affine else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(shape)) if elementwise_affine and bias else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            self.weight.fill_(1)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axes of ``x``."""
        num_axes = len(self.normalized_shape)
        if x.shape[-num_axes:] != self.normalized_shape:
            raise ValueError(f"LayerNorm needs last axes {self.normalized_shape}, got {tuple(x.shape)}.")
        values = at_least_float32(x)
        axes = tuple(range(-num_axes, 0))
        centred = values - values.mean(dim=axes, keepdim=True)
        var = centred.square().mean(dim=axes, keepdim=True)
        out = centred * torch.rsqrt(var + self.eps)
        if self.weight is not None:
            out = out * self.weight
        if self.bias is not None:
            out = out + self.bias
        return out.to(x.dtype)

    def extra_repr(self) -> str:
        """Show the settings when the module is printed."""
        return f"{self.normalized_shape}, eps={self.eps}"
