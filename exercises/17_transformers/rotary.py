"""Exercise 17.3: rotary positions."""

from __future__ import annotations

import cmath

import numpy as np

from course_lib.study.exercises import Case, Exercise


def rope(x, positions, base):
    """Return x with each pair of coordinates turned by its angle."""
    half = x.shape[1] // 2
    angle = positions[:, None] * base ** (-np.arange(half) / half)
    a, b = x[:, :half], x[:, half:]
    turned = np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], 1)
    return turned.astype(x.dtype)


def _rope_oracle(x, positions, base):
    d, out = x.shape[1], np.zeros(x.shape)
    for row, p in enumerate(positions):
        for i in range(d // 2):
            z = complex(x[row, i], x[row, i + d // 2]) * cmath.exp(1j * float(p) * float(base) ** (-2 * i / d))
            out[row, i], out[row, i + d // 2] = z.real, z.imag
    return out


def _draw_pairs(rng):
    length, d = int(rng.integers(1, 6)), 2 * int(rng.integers(1, 5))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    base = float(rng.choice([100.0, 10000.0, 500000.0]))
    return rng.standard_normal((length, d)).astype(dtype), rng.integers(0, 300, length), base


def _explain_rope(case, expected, got):
    lengths = np.linalg.norm(got), np.linalg.norm(expected)
    if not np.isclose(*lengths, rtol=1e-3):
        return f"turning keeps lengths; yours changes the norm from {lengths[1]:.4g} to {lengths[0]:.4g}"
    return f"lengths are right, angles are not: positions {case.args[1].tolist()}, width {expected.shape[1]}"


def _turned(x, angle, pair="halves"):
    half = x.shape[1] // 2
    out = np.empty(x.shape)
    first, second = (slice(0, half), slice(half, None)) if pair == "halves" else (slice(0, None, 2), slice(1, None, 2))
    a, b = x[:, first], x[:, second]
    out[:, first] = a * np.cos(angle) - b * np.sin(angle)
    out[:, second] = a * np.sin(angle) + b * np.cos(angle)
    return out.astype(x.dtype)


def _frequencies(x, base):
    half = x.shape[1] // 2
    return base ** (-np.arange(half) / half)


def _neighbours(x, positions, base):
    return _turned(x, positions[:, None] * _frequencies(x, base), "neighbours")


def _clockwise(x, positions, base):
    return _turned(x, -positions[:, None] * _frequencies(x, base))


def _counts_rows(x, positions, base):
    return _turned(x, np.arange(len(x))[:, None] * _frequencies(x, base))


def _half_the_exponent(x, positions, base):
    return _turned(x, positions[:, None] * base ** (-np.arange(x.shape[1] // 2) / x.shape[1]))


def _one_angle(x, positions, base):
    return _turned(x, positions[:, None] * np.ones(x.shape[1] // 2))


def _in_place_halfway(x, positions, base):
    half, angle = x.shape[1] // 2, positions[:, None] * _frequencies(x, base)
    out = x.copy()
    out[:, :half] = out[:, :half] * np.cos(angle) - out[:, half:] * np.sin(angle)
    out[:, half:] = out[:, :half] * np.sin(angle) + out[:, half:] * np.cos(angle)
    return out


EXERCISES = (
    Exercise(
        id="17.3",
        title="Turn the pairs",
        difficulty=3,
        minutes=15,
        solution=rope,
        cases=_draw_pairs,
        oracle=_rope_oracle,
        edge_cases=(
            Case((np.eye(8), np.array([1, 2, 4, 8, 16, 32, 64, 128]), 10000.0), note="one coordinate at a time"),
        ),
        tolerance={"float32": (1e-4, 1e-4)},
        explain=_explain_rope,
        hints=(
            "One table of angles, `(T, d / 2)`: `positions[:, None] * base ** (-np.arange(d // 2) / (d // 2))`.",
            "With a the first half of the coordinates and b the second, a turn is `a cos - b sin` and `a sin + b cos`.",
            "Compute both from the old a and b before you write either; join with `np.concatenate(..., 1)`.",
        ),
        wrong={
            "pairs neighbours": _neighbours,
            "turns clockwise": _clockwise,
            "counts rows, not positions": _counts_rows,
            "divides the exponent by d": _half_the_exponent,
            "turns all pairs alike": _one_angle,
            "uses what it has just overwritten": _in_place_halfway,
        },
    ),
)
