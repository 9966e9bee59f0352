"""Exercise 19.4: the objective of the parametric fit, stable and summed."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise

DELTA = 1e-3


def objective(a, b, e, alpha, beta, num_parameters, num_tokens, losses):
    """Return the summed Huber loss of the log residuals."""
    by_size, by_tokens = a - alpha * np.log(num_parameters), b - beta * np.log(num_tokens)
    predicted = np.logaddexp(np.logaddexp(by_size, by_tokens), e)
    size = np.abs(predicted - np.log(losses))
    return float(np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 1e-3 / 2)).sum())


def _oracle(a, b, e, alpha, beta, num_parameters, num_tokens, losses):
    total = 0.0
    for n, d, loss in zip(num_parameters, num_tokens, losses, strict=True):
        terms = [a - alpha * math.log(n), b - beta * math.log(d), e]
        largest = max(terms)
        predicted = largest + math.log(math.fsum(math.exp(term - largest) for term in terms))
        gap = abs(predicted - math.log(loss))
        total += gap * gap / 2 if gap <= DELTA else DELTA * (gap - DELTA / 2)
    return total


def _draw_runs(rng):
    num = int(rng.integers(3, 12))
    n, d = 10 ** rng.uniform(6, 10, num), 10 ** rng.uniform(8, 12, num)
    a, b, e = (float(value) for value in (rng.uniform(4, 7), rng.uniform(4, 8), rng.uniform(-0.5, 0.8)))
    alpha, beta = (float(value) for value in rng.uniform(0.25, 0.45, 2))
    losses = np.exp(e) + np.exp(a) / n**alpha + np.exp(b) / d**beta
    losses = losses * np.exp(rng.choice([3e-4, 3e-3, 0.1], num) * rng.standard_normal(num))
    if rng.uniform() < 0.35:  # the far corner of a grid of starts
        a, b = a + float(rng.uniform(1000, 4000)), b + float(rng.uniform(1000, 4000))
    return a, b, e, alpha, beta, n, d, losses


def _explain(case, expected, got):
    if got is None or not np.isfinite(got):
        return "take the largest term out before you take exponentials: np.logaddexp, or scipy's logsumexp"
    return f"{len(case.args[-1])} runs, summed; residuals are differences of logarithms"


def _residuals(a, b, e, alpha, beta, n, d, losses):
    return np.logaddexp(np.logaddexp(a - alpha * np.log(n), b - beta * np.log(d)), e) - np.log(losses)


def _huber(residual):
    size = np.abs(residual)
    return np.where(size <= DELTA, residual**2 / 2, DELTA * (size - DELTA / 2))


def _averages(*args):
    return float(_huber(_residuals(*args)).mean())


def _overflows(a, b, e, alpha, beta, n, d, losses):
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = np.log(np.exp(a) / n**alpha + np.exp(b) / d**beta + np.exp(e))
        return float(_huber(predicted - np.log(losses)).sum())


def _losses_not_logs(a, b, e, alpha, beta, n, d, losses):
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = np.exp(np.logaddexp(np.logaddexp(a - alpha * np.log(n), b - beta * np.log(d)), e))
        return float(_huber(predicted - losses).sum())


def _floor_is_not_a_logarithm(a, b, e, alpha, beta, n, d, losses):
    return float(_huber(_residuals(a, b, math.log(max(e, 1e-9)), alpha, beta, n, d, losses)).sum())


def _squares(*args):
    return float((_residuals(*args) ** 2 / 2).sum())


def _absolute(*args):
    return float(DELTA * np.abs(_residuals(*args)).sum())


def _forgets_delta_outside(*args):
    size = np.abs(_residuals(*args))
    return float(np.where(size <= DELTA, size**2 / 2, size - DELTA / 2).sum())


def _default_delta(*args):
    size = np.abs(_residuals(*args))
    return float(np.where(size <= 1, size**2 / 2, size - 0.5).sum())


EXERCISES = (
    Exercise(
        id="19.4",
        title="Chinchilla's objective",
        difficulty=3,
        minutes=20,
        solution=objective,
        cases=_draw_runs,
        oracle=_oracle,
        edge_cases=(
            Case(
                (0.0, 0.0, 0.0, 0.3, 0.3, np.array([1.0]), np.array([1.0]), np.array([3.0 * math.exp(0.1)])),
                note="a gap of 0.1 in logarithms, beyond delta",
            ),
            Case(
                (0.0, 0.0, 0.0, 0.3, 0.3, np.array([1.0, 1.0]), np.array([1.0, 1.0]), 3 * np.exp([5e-4, -5e-4])),
                note="two gaps of half a delta",
            ),
            Case(
                (3000.0, 2900.0, 0.5, 0.3, 0.4, np.array([1e8, 1e9]), np.array([1e10, 1e9]), np.array([3.0, 2.8])),
                note="a start far out: exp(3000) does not fit into a float",
            ),
        ),
        tolerance={"float64": (1e-6, 1e-15)},
        explain=_explain,
        hints=(
            "Three terms in logarithms: a - alpha ln N, b - beta ln D, and e. Take the log of the sum of their exp.",
            "`np.logaddexp(x, y)` does that for two, without overflow; use it twice. Then subtract `np.log(losses)`.",
            "`np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 1e-3 / 2)).sum()` for `size`, the absolute residuals.",
        ),
        wrong={
            "averages": _averages,
            "takes exponentials first": _overflows,
            "compares losses, not their logarithms": _losses_not_logs,
            "takes e for E": _floor_is_not_a_logarithm,
            "squares all residuals": _squares,
            "takes absolute values only": _absolute,
            "forgets delta in the linear part": _forgets_delta_outside,
            "leaves delta at 1": _default_delta,
        },
    ),
)
