"""Exercise 19.3: the bottom of an IsoFLOP valley, and whether to trust it."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def valley_bottom(num_parameters, losses):
    """Return the best size, and whether it lies inside the sizes tried."""
    logs = np.log(num_parameters)
    curvature, slope, _ = np.polyfit(logs, losses, 2)
    if curvature <= 0:
        return math.nan, False
    bottom = -slope / (2 * curvature)
    middle, reach = (logs.max() + logs.min()) / 2, (logs.max() - logs.min()) / 2
    return np.exp(bottom), abs(bottom - middle) < reach


def _oracle(num_parameters, losses):
    """Solve the normal equations of the parabola by Cramer's rule."""
    logs = [math.log(float(n)) for n in num_parameters]
    center = sum(logs) / len(logs)
    xs, ys = [x - center for x in logs], [float(y) for y in losses]
    sums = [sum(x**k for x in xs) for k in range(5)]
    right = [sum(y * x**k for x, y in zip(xs, ys, strict=True)) for k in range(3)]
    rows = [[sums[i + j] for j in range(3)] for i in range(3)]

    def determinant(m):
        return (
            m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
        )

    whole = determinant(rows)
    found = []
    for column in range(3):
        changed = [[right[i] if j == column else rows[i][j] for j in range(3)] for i in range(3)]
        found.append(determinant(changed) / whole)
    if found[2] <= 0:
        return math.nan, False
    bottom = center - found[1] / (2 * found[2])
    return math.exp(bottom), min(logs) < bottom < max(logs)


def _draw_valley(rng):
    num, reach = int(rng.integers(4, 9)), float(rng.uniform(1.0, 2.5))
    middle = float(rng.uniform(9, 23))
    logs = middle + reach * np.linspace(-1, 1, num) + rng.uniform(-0.1, 0.1, num)
    bottom = middle + float(rng.uniform(-2.0, 2.0)) * reach
    curvature = float(rng.uniform(0.1, 0.6)) * (-1 if rng.uniform() < 0.2 else 1)
    losses = 2.5 + curvature * (logs - bottom) ** 2 + 0.005 * rng.standard_normal(num)
    order = rng.permutation(num)
    return np.exp(logs[order]), losses[order]


def _explain(case, expected, got):
    logs = np.log(case.args[0])
    return f"the sizes tried reach from {math.exp(logs.min()):.4g} to {math.exp(logs.max()):.4g} parameters"


def _without_logarithm(num_parameters, losses):
    curvature, slope, _ = np.polyfit(num_parameters, losses, 2)
    bottom = -slope / (2 * curvature)
    return float(bottom), bool(num_parameters.min() < bottom < num_parameters.max())


def _best_one_tried(num_parameters, losses):
    best = int(np.argmin(losses))
    return float(num_parameters[best]), 0 < best < len(losses) - 1


def _takes_the_top_of_a_hill(num_parameters, losses):
    logs = np.log(num_parameters)
    curvature, slope, _ = np.polyfit(logs, losses, 2)
    bottom = -slope / (2 * curvature)
    return float(np.exp(bottom)), bool(logs.min() < bottom < logs.max())


def _returns_the_logarithm(num_parameters, losses):
    size, inside = valley_bottom(num_parameters, losses)
    return math.log(size), inside


def _forgets_the_two(num_parameters, losses):
    logs = np.log(num_parameters)
    curvature, slope, _ = np.polyfit(logs, losses, 2)
    if curvature <= 0:
        return math.nan, False
    bottom = -slope / curvature
    return float(np.exp(min(bottom, 700.0))), bool(logs.min() < bottom < logs.max())


def _always_inside(num_parameters, losses):
    size, _ = valley_bottom(num_parameters, losses)
    return size, not math.isnan(size)


def _ends_by_place(num_parameters, losses):
    size, _ = valley_bottom(num_parameters, losses)
    return size, bool(num_parameters[0] < size < num_parameters[-1])


def _averages_runs_of_one_size(num_parameters, losses):
    sizes = np.unique(num_parameters)
    return valley_bottom(sizes, np.array([losses[num_parameters == size].mean() for size in sizes]))


EXERCISES = (
    Exercise(
        id="19.3",
        title="The bottom of a valley",
        difficulty=2,
        minutes=15,
        solution=valley_bottom,
        cases=_draw_valley,
        oracle=_oracle,
        edge_cases=(
            Case(
                (np.array([1e8, 1e6, 1e7]), np.array([3.5, 3.5, 3.0])), note="symmetric, not in order: the middle one"
            ),
            Case((np.array([1e6, 1e7, 1e8]), np.array([3.5, 3.0, 2.8])), note="the bottom lies outside"),
            Case((np.array([1e6, 1e7, 1e8]), np.array([3.0, 3.5, 3.0])), note="a hill: no bottom"),
            Case((np.array([20_000, 40_000, 40_000, 90_000]), np.array([3.1, 2.9, 3.0, 3.2])), note="one size twice"),
            Case(
                (np.array([20_000, 40_000, 40_000, 90_000, 200_000]), np.array([3.3, 3.0, 2.8, 3.0, 3.1])),
                note="one size twice: each run counts as much as the others",
            ),
        ),
        tolerance={"float64": (1e-6, 1e-9)},
        explain=_explain,
        hints=(
            "`np.polyfit(x, y, 2)` gives the three numbers of the parabola, that of x squared first.",
            "With x = ln N the bottom is where 2 c2 x + c1 = 0. It exists only if c2 is above 0.",
            "Return `np.exp(-c1 / (2 * c2))`, and whether it lies between the least and the greatest size.",
        ),
        wrong={
            "fits over the size, not its logarithm": _without_logarithm,
            "takes the best one tried": _best_one_tried,
            "takes the top of a hill": _takes_the_top_of_a_hill,
            "returns the logarithm": _returns_the_logarithm,
            "forgets the 2": _forgets_the_two,
            "says that every bottom is inside": _always_inside,
            "takes the first and the last size for the ends": _ends_by_place,
            "averages runs of one size before the fit": _averages_runs_of_one_size,
        },
    ),
)
