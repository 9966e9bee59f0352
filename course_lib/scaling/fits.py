"""Fits of the three laws to measured losses: in logarithms, with Huber's loss, from a grid of starts."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.scaling._inputs import columns
from course_lib.scaling.huber_fit import Reduction, check_fit, log_sum_exp, minimise_huber, most_promising
from course_lib.scaling.laws import ChinchillaLaw, KaplanLaw, PowerLaw

Floats = NDArray[np.float64]
STARTS = 8  # the most promising points of the grid, each descended from


def fit_power_law(
    x: ArrayLike,
    loss: ArrayLike,
    *,
    irreducible: bool = True,
    delta: float = 1e-3,
    reduction: Reduction = "sum",
    tolerance: float = 1e-8,
) -> PowerLaw:
    """Fit ``loss = irreducible + coefficient * x ** -exponent``.

    With ``irreducible=False`` it is a straight line on doubly logarithmic axes. A loss that flattens out forces such
    a line to a smaller exponent, so it predicts too little at first and too much far out.

    Args:
        x: Parameters, tokens or FLOP, one entry a run.
        loss: Measured losses.
        irreducible: Whether a constant is fitted besides.
        delta: Where Huber's loss of the logarithms turns linear.
        reduction: Whether Huber's terms are summed or averaged; see `fit_chinchilla`.
        tolerance: L-BFGS stops where no component of the gradient is larger.

    Raises:
        ValueError: If columns differ in length, a value is not positive, or there are fewer runs than parameters.

    Example:
        >>> law = fit_power_law([1, 4, 16, 64], [9.0, 5.0, 3.0, 2.0])
        >>> round(law.coefficient, 3), round(law.exponent, 3), round(law.irreducible, 3)
        (8.0, 0.5, 1.0)
    """
    check_fit(reduction, delta=delta, tolerance=tolerance)
    xs, losses = columns(3 if irreducible else 2, x=x, loss=loss)
    log_x, log_loss = np.log(xs), np.log(losses)

    def model(parameters: Floats) -> tuple[Floats, Floats]:
        terms = [parameters[0] - parameters[1] * log_x]
        if irreducible:
            terms.append(np.full_like(log_x, parameters[2]))
        predicted, shares = log_sum_exp(np.stack(terms))
        return predicted, np.stack([shares[0], -shares[0] * log_x, *shares[1:]], axis=1)

    middle, lowest = float(log_x.mean()), float(log_loss.min())
    levels = [lowest + step for step in (-4.0, -1.0, -0.3, -0.05)] if irreducible else [0.0]
    grid = [
        [float(log_loss.mean()) + drop + slope * middle, slope, level]
        for slope, drop, level in product((0.05, 0.1, 0.2, 0.4, 0.8, 1.5), (-3.0, -1.0, 0.0), levels)
    ]
    starts = most_promising(model, log_loss, np.array(grid)[:, : 2 + irreducible], keep=STARTS)
    best = minimise_huber(model, log_loss, starts, delta=delta, reduction=reduction, tolerance=tolerance)
    floor = float(np.exp(best[2])) if irreducible else 0.0
    return PowerLaw(coefficient=float(np.exp(best[0])), exponent=float(best[1]), irreducible=floor)


def fit_kaplan(
    num_parameters: ArrayLike,
    num_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    delta: float = 1e-3,
    reduction: Reduction = "sum",
    tolerance: float = 1e-8,
) -> KaplanLaw:
    """Fit Kaplan's form; see `KaplanLaw`. It has no irreducible part, so it cannot flatten out above 0.

    Args:
        num_parameters: One entry a run; Kaplan leaves embeddings out.
        num_tokens: Tokens each run has seen.
        loss: Measured losses, nats a token.
        delta: Where Huber's loss of the logarithms turns linear.
        reduction: Whether Huber's terms are summed or averaged; see `fit_chinchilla`.
        tolerance: L-BFGS stops where no component of the gradient is larger.

    Raises:
        ValueError: As `fit_chinchilla` does, from four runs on.

    Example:
        >>> truth = KaplanLaw(8.8e13, 5.4e13, 0.076, 0.095)
        >>> n, d = np.repeat([1e6, 1e7, 1e8], 3), np.tile([1e8, 1e9, 1e10], 3)
        >>> law = fit_kaplan(n, d, truth.loss(n, d))
        >>> round(law.parameter_exponent, 4), round(law.token_exponent, 4)
        (0.076, 0.095)
    """
    check_fit(reduction, delta=delta, tolerance=tolerance)
    n, d, losses = columns(4, num_parameters=num_parameters, num_tokens=num_tokens, loss=loss)
    log_n, log_d, log_loss = np.log(n), np.log(d), np.log(losses)

    def model(parameters: Floats) -> tuple[Floats, Floats]:
        by_size, by_tokens, ratio, alpha = parameters  # log of each term is by_... minus its slope times the logarithm
        inner, shares = log_sum_exp(np.stack([by_size - ratio * log_n, by_tokens - log_d]))
        slopes = [alpha * shares[0], alpha * shares[1], -alpha * shares[0] * log_n, inner]
        return alpha * inner, np.stack(slopes, axis=1)

    x, y, level = float(log_n.mean()), float(log_d.mean()), float(log_loss.mean())
    grid = [
        [level / alpha + size + ratio * x, level / alpha + tokens + y, ratio, alpha]
        for alpha, ratio, size, tokens in product(
            (0.05, 0.1, 0.2, 0.4), (0.5, 1.0, 2.0), (-3.0, -0.7, 0.0), (-3.0, -0.7, 0.0)
        )
    ]
    starts = most_promising(model, log_loss, np.array(grid), keep=STARTS)
    best = minimise_huber(model, log_loss, starts, delta=delta, reduction=reduction, tolerance=tolerance)
    by_size, by_tokens, ratio, alpha = (float(value) for value in best)
    return KaplanLaw(float(np.exp(by_size / ratio)), float(np.exp(by_tokens)), ratio * alpha, alpha)


def fit_chinchilla(
    num_parameters: ArrayLike,
    num_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    start: ChinchillaLaw | None = None,
    delta: float = 1e-3,
    reduction: Reduction = "sum",
    tolerance: float = 1e-8,
) -> ChinchillaLaw:
    """Fit ``E + A / N ** alpha + B / D ** beta``: Hoffmann's third approach.

    Minimises Huber's loss of ``logsumexp(log A - alpha log N, log B - beta log D, log E) - log L`` over the five
    parameters by L-BFGS. All 4,500 points of Hoffmann's grid are looked at, the best 8 are descended from.

    Huber's terms are **summed**. ``reduction="mean"`` has the same minimum, but its gradient is smaller by the number
    of runs, and with ``tolerance=1e-5``, SciPy's default, L-BFGS takes that for convergence far from it. So it went
    in the paper, as Besiroglu et al. found: its exponents came out biased, with intervals far too narrow.

    Args:
        num_parameters: One entry a run.
        num_tokens: Tokens each run has seen, without repetition.
        loss: Final losses, nats a token, each of a run whose learning rate was decayed within these tokens.
        weights: How often each run counts, 1 by default.
        start: Descend from here instead of from the grid.
        delta: Where Huber's loss of the logarithms turns linear.
        reduction: ``"sum"`` or ``"mean"`` of Huber's terms.
        tolerance: L-BFGS stops where no component of the gradient is larger.

    Returns:
        The law. Look at its residuals against compute before extrapolating: where losses still fall ever faster, as
        they do early in training, no law of this form holds, and E comes out as almost 0.

    Raises:
        ValueError: If columns differ in length, a value is not positive, or there are fewer than five runs.

    Example:
        >>> truth = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
        >>> n, d = np.repeat([1e8, 1e9, 1e10], 3), np.tile([1e9, 1e10, 1e11], 3)
        >>> law = fit_chinchilla(n, d, truth.loss(n, d))
        >>> round(law.irreducible, 3), round(law.parameter_exponent, 3), round(law.token_exponent, 3)
        (1.69, 0.34, 0.28)

    Reference: Hoffmann et al. 2022, "Training compute-optimal large language models", section 3.3 and appendix D.3,
    https://arxiv.org/abs/2203.15556; Besiroglu et al. 2024, "Chinchilla scaling: a replication attempt",
    https://arxiv.org/abs/2404.10102
    """
    check_fit(reduction, delta=delta, tolerance=tolerance)
    n, d, losses = columns(5, num_parameters=num_parameters, num_tokens=num_tokens, loss=loss)
    counts = None if weights is None else np.asarray(weights, dtype=np.float64)
    if counts is not None and (counts.shape != n.shape or (counts < 0).any() or not counts.sum() > 0):
        raise ValueError(f"weights must be {len(n)} numbers of 0 or more, not all 0; got {weights!r}.")
    log_n, log_d, log_loss = np.log(n), np.log(d), np.log(losses)

    def model(parameters: Floats) -> tuple[Floats, Floats]:
        a, b, e, alpha, beta = parameters
        predicted, shares = log_sum_exp(np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)]))
        return predicted, np.stack([*shares, -shares[0] * log_n, -shares[1] * log_d], axis=1)

    if start is None:
        starts = most_promising(model, log_loss, _hoffmann_grid(), keep=STARTS)
    else:
        starts = np.array([_as_parameters(start)])
    best = minimise_huber(
        model, log_loss, starts, delta=delta, reduction=reduction, tolerance=tolerance, weights=counts
    )
    a, b, e, alpha, beta = (float(value) for value in best)
    return ChinchillaLaw(float(np.exp(e)), float(np.exp(a)), float(np.exp(b)), alpha, beta)


def _hoffmann_grid() -> Floats:
    """Hoffmann's starts for log A, log B, log E, alpha and beta."""
    coefficients, exponents = np.arange(0, 30, 5), np.arange(0, 2.5, 0.5)
    return np.array(list(product(coefficients, coefficients, np.arange(-1, 1.5, 0.5), exponents, exponents)))


def _as_parameters(law: ChinchillaLaw) -> list[float]:
    logs = np.log([law.parameter_coefficient, law.token_coefficient, law.irreducible])
    return [*map(float, logs), law.parameter_exponent, law.token_exponent]
