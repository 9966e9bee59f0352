"""Mean squared error: what a Gaussian of fixed width makes of maximum likelihood."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, check_same_shape, reduced, widened


def mse(prediction: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared error, without the factor 1/2.

    The best constant under it is the mean. An error counts by its square, so one outlier at distance
    10 weighs as much as a hundred errors of 1.

    Args:
        prediction: What the model says.
        target: What is true.
        reduction: ``"mean"`` over all numbers, ``"sum"`` or ``"none"``.

    Shape:
        - prediction, target: ``(...)``, one shape, floating point
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        The error in squared units of the target: the target's variance for the best constant, 0 for a perfect model.

    Raises:
        ValueError: If the shapes differ, or a tensor is not floating point.

    Example:
        >>> import torch
        >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(2.)

    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 1.62
    """
    check_same_shape(prediction=prediction, target=target)
    error = widened("prediction", prediction) - widened("target", target)
    return reduced(error.square(), reduction)
