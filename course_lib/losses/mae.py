"""Mean absolute error: what a Laplace distribution makes of maximum likelihood."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, check_same_shape, reduced, widened


def mae(prediction: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Absolute error.

    The best constant under it is the median, which one outlier cannot move far. The gradient has size 1
    however small the error (0 at exactly 0), so a fixed step size keeps stepping over the minimum.

    Args:
        prediction: What the model says.
        target: What is true.
        reduction: ``"mean"`` over all numbers, ``"sum"`` or ``"none"``.

    Shape:
        - prediction, target: ``(...)``, one shape, floating point
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        The error in units of the target: the mean distance from the median for the best constant, 0 for a perfect
        model.

    Raises:
        ValueError: If the shapes differ, or a tensor is not floating point.

    Example:
        >>> import torch
        >>> mae(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(1.)
    """
    check_same_shape(prediction=prediction, target=target)
    error = widened("prediction", prediction) - widened("target", target)
    return reduced(error.abs(), reduction)
