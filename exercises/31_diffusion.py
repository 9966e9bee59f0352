"""Exercises 31.1 and 31.2: noise added all at once, one DDIM step from v."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def noised(x0, epsilon, betas, t):
    """Return each row after its own number of noising steps."""
    alpha_bar = np.concatenate([[1.0], np.cumprod(1 - betas)])[t][:, None]
    return (np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * epsilon).astype(x0.dtype)


def _noised_oracle(x0, epsilon, betas, t):
    out = np.zeros(x0.shape)
    for i in range(len(x0)):
        factor, variance = 1.0, 0.0
        for step in range(t[i]):
            factor = factor * math.sqrt(1 - betas[step])
            variance = (1 - betas[step]) * variance + betas[step]
        for j in range(x0.shape[1]):
            out[i, j] = factor * x0[i, j] + math.sqrt(variance) * epsilon[i, j]
    return out


def _draw_noised(rng):
    rows, width, steps = rng.integers(2, 7), rng.integers(1, 5), rng.integers(2, 9)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    t = rng.integers(0, steps + 1, rows)
    t[0], t[-1] = 0, steps
    x0, epsilon = (rng.standard_normal((rows, width)).astype(dtype) for _ in range(2))
    return 3 * x0, epsilon, rng.uniform(0.02, 0.5, steps), t


def _explain_noised(case, expected, got):
    off = ~np.isclose(got, expected, rtol=1e-3, atol=1e-4).all(1)
    return f"rows {np.flatnonzero(off).tolist()} are off; they are at steps {case.args[3][off].tolist()}"


def _mixed(x0, epsilon, signal, noise):
    return (signal[:, None] * x0 + noise[:, None] * epsilon).astype(x0.dtype)


def _off_by_one(x0, epsilon, betas, t):
    bar = np.cumprod(1 - betas)[np.minimum(t, len(betas) - 1)]
    return _mixed(x0, epsilon, np.sqrt(bar), np.sqrt(1 - bar))


def _last_wraps(x0, epsilon, betas, t):
    bar = np.cumprod(1 - betas)[t - 1]
    return _mixed(x0, epsilon, np.sqrt(bar), np.sqrt(1 - bar))


def _no_roots(x0, epsilon, betas, t):
    bar = np.concatenate([[1.0], np.cumprod(1 - betas)])[t]
    return _mixed(x0, epsilon, bar, 1 - bar)


def _no_root_of_noise(x0, epsilon, betas, t):
    bar = np.concatenate([[1.0], np.cumprod(1 - betas)])[t]
    return _mixed(x0, epsilon, np.sqrt(bar), 1 - bar)


def _one_step_only(x0, epsilon, betas, t):
    beta = np.concatenate([[0.0], betas])[t]
    return _mixed(x0, epsilon, np.sqrt(1 - beta), np.sqrt(beta))


def _summed(x0, epsilon, betas, t):
    total = np.minimum(np.concatenate([[0.0], np.cumsum(betas)])[t], 1.0)
    return _mixed(x0, epsilon, np.sqrt(1 - total), np.sqrt(total))


def _not_shrunk(x0, epsilon, betas, t):
    bar = np.concatenate([[1.0], np.cumprod(1 - betas)])[t]
    return _mixed(x0, epsilon, np.ones(len(t)), np.sqrt(1 - bar))


def ddim_step(x_t, v, bar_now, bar_next):
    """Return the state at the next noise level."""
    a, b = np.sqrt(bar_now), np.sqrt(1 - bar_now)
    x0, epsilon = a * x_t - b * v, b * x_t + a * v
    return (np.sqrt(bar_next) * x0 + np.sqrt(1 - bar_next) * epsilon).astype(x_t.dtype)


def _ddim_oracle(x_t, v, bar_now, bar_next):
    angle = math.atan2(math.sqrt(1 - bar_now), math.sqrt(bar_now))
    turn = math.atan2(math.sqrt(1 - bar_next), math.sqrt(bar_next)) - angle
    return math.cos(turn) * x_t.astype(np.float64) + math.sin(turn) * v.astype(np.float64)


def _draw_step(rng):
    shape = tuple(rng.integers(1, 4, rng.integers(1, 4)))
    x_t, v = (rng.standard_normal(shape) for _ in range(2))  # float64: NumPy's roots of plain numbers make it that
    return x_t, v, float(rng.uniform(0.05, 0.6)), float(rng.uniform(0.6, 0.98))


def _explain_step(case, expected, got):
    if not np.isfinite(got).all():
        return f"there are numbers in it that are not finite, from {case.args[2]:.2f} to {case.args[3]:.2f}"
    return f"from {case.args[2]:.2f} to {case.args[3]:.2f} the first number should be {expected.flat[0]:.4f}"


def _v_as_epsilon(x_t, v, bar_now, bar_next):
    with np.errstate(all="ignore"):
        x0 = (x_t - np.sqrt(1 - bar_now) * v) / np.sqrt(bar_now)
        return (np.sqrt(bar_next) * x0 + np.sqrt(1 - bar_next) * v).astype(x_t.dtype)


def _v_turned(x_t, v, bar_now, bar_next):
    return ddim_step(x_t, -v, bar_now, bar_next)


def _keeps_x_t(x_t, v, bar_now, bar_next):
    x0 = np.sqrt(bar_now) * x_t - np.sqrt(1 - bar_now) * v
    return (np.sqrt(bar_next) * x0 + np.sqrt(1 - bar_next) * x_t).astype(x_t.dtype)


def _only_data(x_t, v, bar_now, bar_next):
    return (np.sqrt(bar_now) * x_t - np.sqrt(1 - bar_now) * v).astype(x_t.dtype)


def _forgets_roots(x_t, v, bar_now, bar_next):
    x0, epsilon = bar_now * x_t - (1 - bar_now) * v, (1 - bar_now) * x_t + bar_now * v
    return (bar_next * x0 + (1 - bar_next) * epsilon).astype(x_t.dtype)


def _by_division(x_t, v, bar_now, bar_next):
    with np.errstate(all="ignore"):
        a, b = np.sqrt(bar_now), np.sqrt(1 - bar_now)
        epsilon = b * x_t + a * v
        x0 = (x_t - b * epsilon) / a
        return (np.sqrt(bar_next) * x0 + np.sqrt(1 - bar_next) * epsilon).astype(x_t.dtype)


def _fresh_dice(x_t, v, bar_now, bar_next):
    x0 = np.sqrt(bar_now) * x_t - np.sqrt(1 - bar_now) * v
    fresh = np.random.default_rng(0).standard_normal(x_t.shape)
    return (np.sqrt(bar_next) * x0 + np.sqrt(1 - bar_next) * fresh).astype(x_t.dtype)


_X, _V = np.array([[0.5, -2.0]]), np.array([[1.0, 0.25]])

EXERCISES = (
    Exercise(
        id="31.1",
        title="All at once",
        difficulty=1,
        minutes=10,
        solution=noised,
        cases=_draw_noised,
        oracle=_noised_oracle,
        tolerance={"float32": (1e-4, 1e-5)},
        explain=_explain_noised,
        hints=(
            "`np.cumprod(1 - betas)` holds the products for steps 1, 2, and so on. What is the product for step 0?",
            "Put a 1 in front of it, and index with `t`: one number for each row.",
            "`np.sqrt(alpha_bar)[:, None] * x0 + np.sqrt(1 - alpha_bar)[:, None] * epsilon`.",
        ),
        wrong={
            "is one step too far": _off_by_one,
            "takes the last product for step 0": _last_wraps,
            "forgets the roots": _no_roots,
            "forgets the root of the noise": _no_root_of_noise,
            "makes the last step only": _one_step_only,
            "sums the betas": _summed,
            "does not shrink the data": _not_shrunk,
        },
    ),
    Exercise(
        id="31.2",
        title="One step, from v",
        difficulty=2,
        minutes=15,
        solution=ddim_step,
        cases=_draw_step,
        oracle=_ddim_oracle,
        edge_cases=(
            Case((_X, _V, 0.0, 0.5), note="from pure noise, where nothing may be divided by the signal"),
            Case((_X, _V, 0.3, 1.0), note="to the clean data"),
        ),
        explain=_explain_step,
        hints=(
            "Get both guesses first: $\\hat x_0 = a x_t - b v$ and $\\hat\\epsilon = b x_t + a v$.",
            "$a$ is the root of `bar_now`, $b$ the root of `1 - bar_now`.",
            "Then put the two together again with the roots of `bar_next` and `1 - bar_next`.",
        ),
        wrong={
            "takes v for the noise": _v_as_epsilon,
            "turns the sign of v": _v_turned,
            "takes the noisy state for the noise": _keeps_x_t,
            "goes all the way to the data": _only_data,
            "forgets the roots": _forgets_roots,
            "divides by a signal that may be 0": _by_division,
            "adds fresh noise": _fresh_dice,
        },
    ),
)
