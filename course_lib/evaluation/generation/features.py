"""What all measures of samples need first: rows of finite numbers in float64, and their distances."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_AT_ONCE = 2**22  # distances in memory: 32 MiB


def rows_of(name: str, values: Tensor, *, flatten: bool = False) -> Tensor:
    """Return ``values`` as a float64 matrix without gradients.

    Args:
        name: What the caller calls them, for messages.
        values: Features, a row a sample.
        flatten: Whether to take images too, each as one row of pixels.

    Shape:
        - values: ``(N, D)``, or ``(N, ...)`` with ``flatten``; floating point
        - output: ``(N, D)``, float64, on the same device (from Apple's MPS, which has no float64, on the CPU)

    Raises:
        ValueError: If they are no such matrix, there are none, or a number is not finite.

    Example:
        >>> rows_of("images", torch.zeros(2, 1, 8, 8), flatten=True).shape
        torch.Size([2, 64])
    """
    if not values.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {values.dtype}: convert them with .float().")
    if values.ndim < 2 or (values.ndim > 2 and not flatten):
        hint = "take the features of a network, or images.flatten(1)" if values.ndim > 2 else "add an axis"
        raise ValueError(f"{name} must be (N, D), a row a sample, got {tuple(values.shape)}: {hint}.")
    rows = values.detach().flatten(1)
    rows = (rows.cpu() if rows.device.type == "mps" else rows).double()
    if len(rows) == 0:
        raise ValueError(f"{name} hold no samples, got {tuple(values.shape)}.")
    if not bool(rows.isfinite().all()):
        raise ValueError(f"{name} of {tuple(values.shape)} hold nan or inf: the model that made them has diverged.")
    return rows


def distances_in_parts(rows: Tensor, others: Tensor) -> Iterator[Tensor]:
    """Yield the Euclidean distances of ``rows`` from ``others``, some rows at a time, so that they fit into memory.

    From differences, not from products: equal rows are at distance exactly 0.

    Shape:
        - rows: ``(N, D)``
        - others: ``(M, D)``
        - each part: ``(n, M)``; the parts together have ``N`` rows

    Example:
        >>> [part.tolist() for part in distances_in_parts(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))]
        [[[5.0]]]
    """
    num_rows = max(1, _AT_ONCE // len(others))
    for first in range(0, len(rows), num_rows):
        yield torch.cdist(rows[first : first + num_rows], others, compute_mode="donot_use_mm_for_euclid_dist")
