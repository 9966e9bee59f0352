"""What a linear classifier can read off frozen features: the usual measure of a representation."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.evaluation._inputs import class_numbers, matrix

# Shape letters used in this file: N = rows, D = features, K = classes.

MAX_STEPS = 2000
LARGEST_GRADIENT = 1e-8  # of the mean loss, per entry: where the solver stops
SMALLEST_STD = 1e-9  # relative to the mean: below it a feature is constant but for rounding


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A fitted multinomial logistic regression on standardised features.

    Args:
        classes: The class numbers that it was shown, in order; it never predicts another.
        weights: Of the standardised features.
        bias: Of the classes.
        mean: Of the features it was fitted on.
        std: Of these too; 1 where they were constant.

    Shape:
        - classes, bias: ``(K,)``
        - weights: ``(D, K)``
        - mean, std: ``(D,)``
    """

    classes: Tensor
    weights: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return the log-odds ``(N, K)`` of rows of features, in the order of ``classes``."""
        rows = matrix("features", features, width=len(self.mean))
        return (rows - self.mean) / self.std @ self.weights + self.bias

    def predict(self, features: Tensor) -> Tensor:
        """Return the likeliest class number ``(N,)`` of each row."""
        return self.classes[self.logits(features).argmax(dim=1)]

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Return how many rows of features it reads right, from 0 to 1."""
        return float((self.predict(features) == class_numbers("labels", labels, rows=len(features))).double().mean())


def linear_probe(
    features: Tensor, labels: Tensor, test_features: Tensor, test_labels: Tensor, *, l2: float = 1e-3
) -> float:
    """Return the test accuracy of a logistic regression fitted on frozen features.

    High when classes lie apart in directions of the feature space, whatever else is in it. `fit_linear_probe` returns
    the fitted probe itself.

    Args:
        features: Of the training rows, from an encoder in evaluation mode.
        labels: Of these.
        test_features: Of other rows.
        test_labels: Of these. A class that training did not show counts as read wrong.
        l2: Strength of the penalty.

    Shape:
        - features: ``(N, D)``; test_features: ``(M, D)``; floating point
        - labels: ``(N,)``; test_labels: ``(M,)``; int64

    Returns:
        From 0 to 1; the share of the commonest class is chance.

    Raises:
        ValueError: As `fit_linear_probe`.

    Example:
        >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
        >>> linear_probe(x, torch.tensor([0, 0, 1, 1]), torch.tensor([[-3.0], [3.0]]), torch.tensor([0, 1]))
        1.0

    Reference: Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes,
    https://arxiv.org/abs/1610.01644
    """
    return fit_linear_probe(features, labels, l2=l2).accuracy(test_features, test_labels)


def fit_linear_probe(features: Tensor, labels: Tensor, *, l2: float = 1e-3) -> LinearProbe:
    """Fit a multinomial logistic regression on standardised features, to its only minimum.

    Minimises the **mean** cross-entropy plus ``l2 / 2`` times the sum of squared weights; the biases are free. In
    float64 with L-BFGS from zero, so nothing is random: scikit-learn's ``LogisticRegression(C=1 / (l2 * N))`` on the
    output of its ``StandardScaler`` is the same.

    Args:
        features: One row an example.
        labels: Their classes, at least two different ones.
        l2: Strength of the penalty; positive, because without it separable classes have no minimum.

    Shape:
        - features: ``(N, D)``, floating point
        - labels: ``(N,)``, int64

    Returns:
        The probe.

    Raises:
        ValueError: If shapes or dtypes do not fit, features are not finite, there is only one class, or ``l2`` is not
            positive.

    Warns:
        UserWarning: If the minimum was not reached.

    Example:
        >>> probe = fit_linear_probe(torch.tensor([[-1.0], [1.0]]), torch.tensor([4, 7]))
        >>> probe.predict(torch.tensor([[-0.5], [3.0]]))
        tensor([4, 7])
    """
    if not (math.isfinite(l2) and l2 > 0):
        raise ValueError(f"l2 must be positive and finite, got {l2!r}: without it separable classes have no minimum.")
    rows = matrix("features", features)
    numbers = class_numbers("labels", labels, rows=len(rows))
    classes, targets = torch.unique(numbers, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"a probe needs at least two classes to tell apart, got labels of class {int(classes[0])} only."
        )
    mean = rows.mean(dim=0)
    std = (rows - mean).square().mean(dim=0).sqrt()
    std[std <= SMALLEST_STD * mean.abs()] = 1.0
    weights, bias = _minimise((rows - mean) / std, targets, len(classes), l2)
    return LinearProbe(classes, weights, bias, mean, std)


def _minimise(rows_ND: Tensor, targets: Tensor, num_classes: int, l2: float) -> tuple[Tensor, Tensor]:
    num_rows, width = rows_ND.shape
    weights = rows_ND.new_zeros(width, num_classes).requires_grad_()
    bias = rows_ND.new_zeros(num_classes).requires_grad_()
    wanted = torch.nn.functional.one_hot(targets, num_classes).to(rows_ND.dtype)
    solver = torch.optim.LBFGS(
        [weights, bias],
        max_iter=MAX_STEPS,
        max_eval=2 * MAX_STEPS,
        history_size=20,
        tolerance_grad=LARGEST_GRADIENT,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def loss_and_gradient() -> float:
        log_p = (rows_ND @ weights + bias).log_softmax(dim=1)
        error = (log_p.exp() - wanted) / num_rows
        weights.grad, bias.grad = rows_ND.T @ error + l2 * weights, error.sum(dim=0)
        return float(-(log_p * wanted).sum() / num_rows + l2 / 2 * weights.square().sum())

    solver.step(loss_and_gradient)  # type: ignore[no-untyped-call]
    loss_and_gradient()
    largest = max(float(part.grad.abs().max()) for part in (weights, bias) if part.grad is not None)
    if largest > 100 * LARGEST_GRADIENT:
        warnings.warn(
            f"the probe's minimum was not reached: its largest gradient is {largest:.1e} after {MAX_STEPS} steps. A "
            f"larger l2 than {l2} makes the problem easier.",
            stacklevel=4,
        )
    return weights.detach(), bias.detach()
