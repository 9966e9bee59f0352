"""What the measures of embeddings accept: matrices of finite numbers, class labels, in float64 on the CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHORTEST = 1e-150  # length of a row below which float64 loses its direction; float32 rows never get there


def matrix(name: str, rows: Tensor, *, width: int | None = None) -> Tensor:
    """Return ``rows`` in float64 on the CPU, without its graph.

    Args:
        name: What the caller's documentation calls them.
        rows: ``(N, D)``, floating point.
        width: What D must be.

    Raises:
        ValueError: If it is no matrix with rows, not floating point, of another width, or holds nan or inf.
    """
    if (
        rows.ndim != 2
        or not rows.is_floating_point()
        or len(rows) == 0
        or (width is not None and rows.shape[1] != width)
    ):
        raise ValueError(
            f"{name} must be a floating-point matrix (N, {'D' if width is None else width}) with at least one row, got "
            f"{tuple(rows.shape)} of {rows.dtype}."
        )
    rows = rows.detach().cpu().double()  # one after the other: Apple's MPS has no float64
    if not rows.isfinite().all():
        raise ValueError(f"{name} holds nan or inf: has the encoder diverged?")
    return rows


def unit_rows(name: str, rows: Tensor, *, width: int | None = None) -> Tensor:
    """Return ``rows`` as `matrix` does, each scaled to length 1; a row of zeros stays one."""
    return F.normalize(matrix(name, rows, width=width), dim=-1, eps=SHORTEST)


def class_numbers(name: str, labels: Tensor, *, rows: int) -> Tensor:
    """Return ``labels`` on the CPU.

    Raises:
        ValueError: If they are not ``(rows,)`` of int64, or negative.
    """
    if labels.dtype != torch.int64 or labels.shape != (rows,):
        raise ValueError(
            f"{name} must be int64 class numbers, one for each of {rows} rows, got {tuple(labels.shape)} of "
            f"{labels.dtype}."
        )
    labels = labels.detach().cpu()
    if int(labels.min()) < 0:
        raise ValueError(f"{name} must be class numbers from 0 up, got {int(labels.min())}.")
    return labels
