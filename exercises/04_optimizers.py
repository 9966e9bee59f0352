"""Exercises 04.1 and 04.2: the best rate for a bowl, one step of AdamW."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def best_rate(curvatures):
    """Return the best learning rate for gradient descent, and the factor by which it then converges."""
    low, high = curvatures.min(), curvatures.max()
    return 2 / (low + high), (high - low) / (high + low)


def _rate_oracle(curvatures):
    values = curvatures.tolist()
    rate = 2 / (min(values) + max(values))
    return rate, max(abs(1 - rate * value) for value in values)


def _draw_curvatures(rng):
    return (np.exp(rng.uniform(-3, 3, rng.integers(1, 7))),)


def _explain_rate(case, expected, got):
    rate = float(got[0])
    slowest = max(abs(1 - rate * value) for value in case.args[0].tolist())
    return (
        f"with your rate the slowest direction is multiplied by {slowest:.4g} in each update; with the best one by "
        f"{expected[1]:.4g}"
    )


def _one_over_the_largest(curvatures):
    return 1 / curvatures.max(), 1 - curvatures.min() / curvatures.max()


def _edge_of_stability(curvatures):
    rate = 2 / curvatures.max()
    return rate, 1 - rate * curvatures.min()


def _mean_curvature(curvatures):
    return 1 / curvatures.mean(), np.abs(1 - curvatures / curvatures.mean()).max()


def _approximate_factor(curvatures):
    return 2 / (curvatures.min() + curvatures.max()), 1 - 2 * curvatures.min() / curvatures.max()


def _trusts_the_order(curvatures):
    low, high = curvatures[0], curvatures[-1]
    return 2 / (low + high), (high - low) / (high + low)


def _factor_of_momentum(curvatures):
    low, high = math.sqrt(curvatures.min()), math.sqrt(curvatures.max())
    return 4 / (low + high) ** 2, (high - low) / (high + low)


def adamw_step(theta, g, m, v, t, lr, betas, eps, weight_decay):
    """Return theta, m and v after update number t."""
    b1, b2 = betas
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    direction = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return (1 - lr * weight_decay) * theta - lr * direction, m, v


def _adamw_oracle(theta, g, m, v, t, lr, betas, eps, weight_decay):
    found = [np.empty_like(theta) for _ in range(3)]
    for i in np.ndindex(theta.shape):
        mean = betas[0] * float(m[i]) + (1 - betas[0]) * float(g[i])
        square = betas[1] * float(v[i]) + (1 - betas[1]) * float(g[i]) ** 2
        root = math.sqrt(square / (1 - betas[1] ** t)) + eps
        decayed = float(theta[i]) - lr * weight_decay * float(theta[i])
        for place, value in zip(found, (decayed - lr * mean / (1 - betas[0] ** t) / root, mean, square), strict=True):
            place[i] = value
    return tuple(found)


def _draw_adamw(rng):
    shape = tuple(rng.integers(1, 4, rng.integers(0, 3)))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    theta, g, m = (np.asarray(rng.standard_normal(shape)).astype(dtype) for _ in range(3))
    v, t = np.asarray(rng.uniform(0.1, 2, shape)).astype(dtype), int(rng.integers(1, 30))
    betas = float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.9, 0.99))
    return theta, g, m, v, t, 0.1, betas, float(rng.choice([0.01, 0.3])), float(rng.choice([0.0, 0.5]))


def _first_step(weight_decay):
    zero = np.zeros(2)
    args = (np.array([1.0, -1.0]), np.array([1e-3, 1e3]), zero, zero, 1, 0.1, (0.9, 0.999), 1e-12, weight_decay)
    return Case(args, note="the first step: the learning rate times the gradient's sign, and the decay")


def _explain_adamw(case, expected, got):
    names = [
        name
        for name, want, one in zip(("theta", "m", "v"), expected, got, strict=True)
        if not np.allclose(want, one, rtol=1e-3, atol=1e-5)
    ]
    return f"it is {' and '.join(names)} that is off; this is update {case.args[4]}" if names else None


def _no_correction(theta, g, m, v, t, lr, betas, eps, weight_decay):
    m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
    return (1 - lr * weight_decay) * theta - lr * m / (np.sqrt(v) + eps), m, v


def _epsilon_in_the_root(theta, g, m, v, t, lr, betas, eps, weight_decay):
    m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
    direction = m / (1 - betas[0] ** t) / np.sqrt(v / (1 - betas[1] ** t) + eps)
    return (1 - lr * weight_decay) * theta - lr * direction, m, v


def _penalty_in_the_gradient(theta, g, m, v, t, lr, betas, eps, weight_decay):
    return adamw_step(theta, g + weight_decay * theta, m, v, t, lr, betas, eps, 0.0)


def _returns_the_corrected(theta, g, m, v, t, lr, betas, eps, weight_decay):
    theta, m, v = adamw_step(theta, g, m, v, t, lr, betas, eps, weight_decay)
    return theta, m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def _counts_from_zero(theta, g, m, v, t, lr, betas, eps, weight_decay):
    return adamw_step(theta, g, m, v, t + 1, lr, betas, eps, weight_decay)


def _decay_without_rate(theta, g, m, v, t, lr, betas, eps, weight_decay):
    after, m, v = adamw_step(theta, g, m, v, t, lr, betas, eps, 0.0)
    return after - weight_decay * theta, m, v


def _decays_last(theta, g, m, v, t, lr, betas, eps, weight_decay):
    after, m, v = adamw_step(theta, g, m, v, t, lr, betas, eps, 0.0)
    return (1 - lr * weight_decay) * after, m, v


def _betas_swapped(theta, g, m, v, t, lr, betas, eps, weight_decay):
    return adamw_step(theta, g, m, v, t, lr, betas[::-1], eps, weight_decay)


def _in_place(theta, g, m, v, t, lr, betas, eps, weight_decay):
    theta[...], m[...], v[...] = adamw_step(theta, g, m, v, t, lr, betas, eps, weight_decay)
    return theta, m, v


EXERCISES = (
    Exercise(
        id="04.1",
        title="The best learning rate for a bowl",
        difficulty=1,
        minutes=10,
        solution=best_rate,
        cases=_draw_curvatures,
        oracle=_rate_oracle,
        edge_cases=(
            Case((np.array([3.0, 3.0]),), note="equal curvatures: one step arrives"),
            Case((np.array([5.0, 1.0, 2.0]),), note="not sorted"),
            Case((np.array([0.5]),), note="one direction"),
        ),
        explain=_explain_rate,
        hints=(
            "Direction by direction each update multiplies by 1 - rate * curvature. Which two directions matter?",
            "The best rate makes the flattest and the steepest direction equally slow.",
            "`rate = 2 / (low + high)`; put it into `1 - rate * low`.",
        ),
        wrong={
            "takes one over the largest curvature": _one_over_the_largest,
            "goes to the edge of stability": _edge_of_stability,
            "takes the mean curvature": _mean_curvature,
            "gives the factor for large condition numbers": _approximate_factor,
            "trusts that curvatures are sorted": _trusts_the_order,
            "gives what belongs to momentum": _factor_of_momentum,
        },
    ),
    Exercise(
        id="04.2",
        title="One step of AdamW",
        difficulty=2,
        minutes=10,
        solution=adamw_step,
        cases=_draw_adamw,
        oracle=_adamw_oracle,
        edge_cases=(_first_step(0.0), _first_step(0.5)),
        explain=_explain_adamw,
        hints=(
            "First the two running means, from the gradient alone: no decay in them.",
            "Correct copies of them by `1 - b1**t` and `1 - b2**t`; return the uncorrected ones.",
            "`(1 - lr * weight_decay) * theta - lr * m_hat / (np.sqrt(v_hat) + eps)`",
        ),
        wrong={
            "leaves bias correction out": _no_correction,
            "puts epsilon inside the root": _epsilon_in_the_root,
            "adds an L2 penalty to the gradient": _penalty_in_the_gradient,
            "returns the corrected means": _returns_the_corrected,
            "counts updates from zero": _counts_from_zero,
            "decays without the learning rate": _decay_without_rate,
            "decays after the step": _decays_last,
            "swaps the betas": _betas_swapped,
            "changes its arguments": _in_place,
        },
    ),
)
