"""RMS norm: each row is divided by its root mean square; the mean stays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.nn._precision import at_least_float32


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last axes: layer norm without the centring and without a bias.

    Cheaper than layer norm and about as good: most open-weight language models since 2023 use it. Parameters and names
    are those of ``torch.nn.RMSNorm``. Half-precision inputs are computed in float32; the output has the input's dtype.

    Args:
        normalized_shape: The last axes of the input; an integer stands for one axis.
        eps: Added to the mean square. None: the machine epsilon of the dtype computed in, 1.2e-7 for float32 and
            2.2e-16 for float64. Language models use 1e-6 or 1e-5.
        elementwise_affine: Whether to learn ``weight``, which starts at 1.

    Shape:
        - input, output: ``(*, *normalized_shape)``

    Raises:
        ValueError: If ``normalized_shape`` has no axis, or an input's last axes are others.

    Example:
        >>> RMSNorm(2)(torch.tensor([[3.0, 3.0], [0.0, -2.0]])).round(decimals=3).tolist()
        [[1.0, 1.0], [0.0, -1.4140000343322754]]

    Reference: Zhang and Sennrich 2019, Root mean square layer normalization, eq. 4, https://arxiv.org/abs/1910.07467
    """

    weight: nn.Parameter | None

    def __init__(
        self, normalized_shape: int | Sequence[int], *, eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not self.normalized_shape:
            raise ValueError("normalized_shape needs at least one axis, got ().")
        self.eps = eps
        weight = nn.Parameter(torch.empty(self.normalized_shape)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the weight to 1."""
        if self.weight is not None:
            self.weight.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axes of ``x``."""
        num_axes = len(self.normalized_shape)
        if x.shape[-num_axes:] != self.normalized_shape:
            raise ValueError(f"RMSNorm needs last axes {self.normalized_shape}, got {tuple(x.shape)}.")
        values = at_least_float32(x)
        eps = torch.finfo(values.dtype).eps if self.eps is None else self.eps
        mean_square = values.square().mean(dim=tuple(range(-num_axes, 0)), keepdim=True)
        out = values * torch.rsqrt(mean_square + eps)
        if self.weight is not None:
            out = out * self.weight
        return out.to(x.dtype)

    def extra_repr(self) -> str:
        """Show the settings when the module is printed."""
        return f"{self.normalized_shape}, eps={self.eps}"
