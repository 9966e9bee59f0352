"""What all losses agree on: which shapes fit, which precision they compute in, how they reduce.

Half precision (bf16, fp16) is computed in float32 and stays float32: a bf16 sum stops growing once its terms
fall below 1/256 of it. What can be checked without looking at values is checked; values are never read, because on
a GPU that would wait for the device at every step.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def reduced(losses: Tensor, reduction: Reduction, *, divisor: Tensor | None = None) -> Tensor:
    """Turn one loss per target into what the caller asked for.

    Args:
        losses: One number per target.
        reduction: ``"mean"`` over targets, ``"sum"`` over targets, or ``"none"``: as they are.
        divisor: What the mean divides by where that is not the number of targets: how many are not ignored, or
            their summed weights.

    Shape:
        - losses: ``(...)``
        - divisor: ``()``
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        The reduced loss. The mean of no targets is 0/0: NaN, as in torch.

    Raises:
        ValueError: If ``reduction`` is none of the three.

    Example:
        >>> reduced(torch.tensor([1.0, 2.0, 6.0]), "mean")
        tensor(3.)
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if divisor is None else losses.sum() / divisor


def widened(name: str, values: Tensor) -> Tensor:
    """Return ``values`` in at least float32.

    Args:
        name: What the caller's documentation calls them, for the message.
        values: Any floating-point tensor.

    Shape:
        - values, output: ``(...)``

    Returns:
        bf16 and fp16 as float32; float32 and float64 as they are.

    Raises:
        ValueError: If the tensor is not floating point.

    Example:
        >>> widened("logits", torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    if not values.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {values.dtype}: convert it with .float().")
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def check_same_shape(**tensors: Tensor) -> None:
    """Refuse tensors that would broadcast: ``(B, 1)`` against ``(B,)`` silently becomes ``(B, B)``.

    Args:
        tensors: Two or more, by the names that the message shall use.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> check_same_shape(prediction=torch.zeros(3), target=torch.ones(3))
    """
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"these must have one shape, got {shapes}. Use squeeze(-1), unsqueeze(-1) or expand first.")


def check_positive(name: str, value: float) -> None:
    """Refuse a setting that is not a positive, finite number.

    Args:
        name: What the setting is called.
        value: What was given.

    Raises:
        ValueError: If ``value`` is zero, negative, infinite or NaN.

    Example:
        >>> check_positive("temperature", 2.0)
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}.")
