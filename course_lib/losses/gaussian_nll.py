"""The negative log-likelihood of a Gaussian whose width the model predicts too."""

from __future__ import annotations

import math

from torch import Tensor

from course_lib.losses.conventions import Reduction, check_same_shape, reduced, widened


def gaussian_nll(mean: Tensor, target: Tensor, log_variance: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """``-log N(target; mean, exp(log_variance))``: squared error weighed by how sure the model claims to be.

    With ``log_variance`` 0 it is half the squared error plus a constant. A model that may widen its Gaussian pays
    ``log_variance / 2`` for it. The logarithm is the parameter because any real number is a valid one.

    Args:
        mean: What the model says.
        target: What is true.
        log_variance: Logarithm of the predicted variance, per number or shared.
        reduction: ``"mean"`` over all numbers, ``"sum"`` or ``"none"``.

    Shape:
        - mean, target: ``(...)``, one shape, floating point
        - log_variance: broadcasts to ``(...)``; ``()`` is one variance for all
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        Nats per number, the constant ``log(2 pi) / 2`` included (torch's ``full=True``), so that values are comparable
        between models. Not bounded below: it falls as a right and ever surer model's variance goes to 0.

    Raises:
        ValueError: If the shapes do not fit, or a tensor is not floating point.

    Example:
        >>> import torch
        >>> gaussian_nll(torch.zeros(1), torch.zeros(1), torch.tensor(0.0))  # log(2 pi) / 2
        tensor(0.9189)

    Reference: Kendall and Gal 2017, eq. 8, https://arxiv.org/abs/1703.04977
    """
    check_same_shape(mean=mean, target=target)
    try:
        log_variance = widened("log_variance", log_variance).expand_as(mean)
    except RuntimeError as mismatch:
        raise ValueError(
            f"log_variance must broadcast to the mean's shape {tuple(mean.shape)}, got {tuple(log_variance.shape)}."
        ) from mismatch
    error = widened("target", target) - widened("mean", mean)
    standardized = error * (-log_variance / 2).exp()  # scaled before it is squared: twice the range before overflow
    return reduced((standardized.square() + log_variance + math.log(2 * math.pi)) / 2, reduction)
