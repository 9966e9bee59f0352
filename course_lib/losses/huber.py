"""Huber's loss: squared for small errors, absolute for large ones."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened


def huber(prediction: Tensor, target: Tensor, *, delta: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Half the squared error up to ``delta``, then a straight line with the same slope.

    No error pulls harder than ``delta``, so outliers cannot take over; near 0 the gradient fades as the
    squared error's does, so a fixed step size settles.

    Args:
        prediction: What the model says.
        target: What is true.
        delta: Where the parabola becomes a line, in units of the target; positive and finite.
        reduction: ``"mean"`` over all numbers, ``"sum"`` or ``"none"``.

    Shape:
        - prediction, target: ``(...)``, one shape, floating point
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        ``error**2 / 2`` where ``|error| <= delta``, else ``delta * (|error| - delta / 2)``; note the factor 1/2, which
        :func:`mse` does not have. 0 for a perfect model. As ``torch.nn.functional.huber_loss``.

    Raises:
        ValueError: If the shapes differ, a tensor is not floating point, or ``delta`` is not positive and finite.

    Example:
        >>> import torch
        >>> huber(torch.tensor([0.5, 3.0]), torch.zeros(2), reduction="none")
        tensor([0.1250, 2.5000])

    Reference: Huber 1964, Robust Estimation of a Location Parameter, https://doi.org/10.1214/aoms/1177703732
    """
    check_positive("delta", delta)
    check_same_shape(prediction=prediction, target=target)
    error = (widened("prediction", prediction) - widened("target", target)).abs()
    inner = error.clamp(max=delta)  # one product for both branches: the square of a huge error is never formed
    return reduced(inner * (error - inner / 2), reduction)
