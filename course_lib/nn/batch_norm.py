"""Batch norm: each channel is brought to mean 0 and variance 1 over the batch, and remembers what it saw."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn._precision import at_least_float32


class BatchNorm(nn.Module):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and variance of each channel over batch and positions.

    In training mode the rows of a batch depend on each other. In evaluation mode the running statistics stand in for
    the batch's, so that a row's output depends on that row alone. The conventions that people get wrong, all torch's:

    - the batch is normalised with the **biased** variance (divided by n), the running one is fed the **unbiased** one
      (divided by n - 1);
    - ``momentum`` is the share of the **new** value: ``running = (1 - momentum) * running + momentum * new``; None
      gives the plain average over all batches since the start;
    - the statistics are this process's own: nothing is exchanged between ranks.

    Same parameters, buffers and names as ``torch.nn.BatchNorm1d``, ``2d`` and ``3d``: a state dict of one loads into
    the other. Statistics of half-precision inputs are taken in float32; the output has the input's dtype. A training
    batch of no rows leaves the statistics alone and is not counted.

    Args:
        num_features: Channels, C.
        eps: Added to the variance.
        momentum: See above.
        affine: Whether to learn ``weight`` (starts at 1) and ``bias`` (starts at 0).
        track_running_stats: False: no buffers, and the batch's statistics in evaluation mode too.

    Shape:
        - input, output: ``(N, C)`` or ``(N, C, *positions)``

    Raises:
        ValueError: For settings out of range, for an input of another shape, and for a single value per channel where
            its variance would be needed.

    Example:
        >>> norm = BatchNorm(1)
        >>> norm(torch.tensor([[1.0], [3.0]])).round(decimals=3).tolist()
        [[-1.0], [1.0]]
        >>> norm.running_mean, norm.running_var  # 0.9 * 0 + 0.1 * 2, 0.9 * 1 + 0.1 * 2
        (tensor([0.2000]), tensor([1.1000]))

    Reference: Ioffe and Szegedy 2015, Batch normalization, algorithms 1 and 2, https://arxiv.org/abs/1502.03167
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {num_features}.")
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"momentum is the new value's share, in [0, 1] or None, got {momentum!r}; 0.1 is usual.")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.register_parameter("weight", nn.Parameter(torch.empty(num_features)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(num_features)) if affine else None)
        self.register_buffer("running_mean", torch.empty(num_features) if track_running_stats else None)
        self.register_buffer("running_var", torch.empty(num_features) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track_running_stats else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Go back to the identity and to statistics of nothing seen."""
        for ones in (self.weight, self.running_var):
            if ones is not None:
                ones.fill_(1)
        for zeros in (self.bias, self.running_mean, self.num_batches_tracked):
            if zeros is not None:
                zeros.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``; in training mode update the running statistics too."""
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ValueError(f"BatchNorm needs (N, {self.num_features}, ...), got {tuple(x.shape)}.")
        values = at_least_float32(x)
        if self.training or self.running_mean is None or self.running_var is None:
            mean, var = self._batch_statistics(values)
        else:
            mean, var = self.running_mean, self.running_var
        scale = torch.rsqrt(var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out = (values - _per_channel(mean, x)) * _per_channel(scale, x)
        if self.bias is not None:
            out = out + _per_channel(self.bias, x)
        return out.to(x.dtype)

    def _batch_statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        count = values.numel() // self.num_features
        if count == 1:
            raise ValueError(
                f"BatchNorm needs at least 2 values per channel to take statistics of, got {tuple(values.shape)}: "
                "use a larger batch, or a norm that looks at one row (LayerNorm, GroupNorm)."
            )
        if count == 0:
            return values.new_zeros(self.num_features), values.new_ones(self.num_features)
        var, mean = torch.var_mean(values, dim=[0, *range(2, values.ndim)], correction=0)
        self._remember(mean.detach(), var.detach() * (count / (count - 1)))
        return mean, var

    @torch.no_grad()
    def _remember(self, mean: Tensor, unbiased_var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            if self.momentum is None:
                running += (new - running) / self.num_batches_tracked  # a tensor: the device does not wait
            else:
                running.copy_((1 - self.momentum) * running + self.momentum * new)

    def extra_repr(self) -> str:
        """Show the settings when the module is printed."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.ndim - 2))
