"""Exercise 04.3: the mean squares that Adafactor rebuilds from its rows and columns."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def factored_square(gradients):
    """Return the mean squares that Adafactor rebuilds from its rows and columns after the last gradient."""
    rows = columns = 0.0
    for t, g in enumerate(gradients, start=1):
        share = t**-0.8
        square = g.astype(np.float64) ** 2
        rows = (1 - share) * rows + share * square.mean(1)
        columns = (1 - share) * columns + share * square.mean(0)
    return np.outer(rows, columns) / rows.mean()


def _factored_oracle(gradients):
    num_rows, num_columns = gradients[0].shape
    rows, columns = [0.0] * num_rows, [0.0] * num_columns
    for t, g in enumerate(gradients, start=1):
        beta2 = 1 - t**-0.8
        for i in range(num_rows):
            mean = sum(float(g[i, j]) ** 2 for j in range(num_columns)) / num_columns
            rows[i] = beta2 * rows[i] + (1 - beta2) * mean
        for j in range(num_columns):
            mean = sum(float(g[i, j]) ** 2 for i in range(num_rows)) / num_rows
            columns[j] = beta2 * columns[j] + (1 - beta2) * mean
    whole = sum(rows) / num_rows
    return np.array([[r * c / whole for c in columns] for r in rows])


def _draw_gradients(rng):
    shape, dtype = rng.integers(1, 5, 2), (np.float32, np.float64)[rng.integers(2)]
    scale = 10.0 ** rng.integers(-2, 3)
    return ([(scale * rng.standard_normal(shape) * (1 + t)).astype(dtype) for t in range(rng.integers(1, 5))],)


def _explain_factored(case, expected, got):
    gradients = case.args[0]
    return f"{len(gradients)} gradient(s) of shape {gradients[0].shape}; the first alone counts fully at t = 1"


def _all_alike(gradients):
    squares = np.mean([g.astype(np.float64) ** 2 for g in gradients], axis=0)
    return np.outer(squares.mean(1), squares.mean(0)) / squares.mean()


def _last_one_only(gradients):
    return factored_square(gradients[-1:])


def _not_divided(gradients):
    rows = columns = 0.0
    for t, g in enumerate(gradients, start=1):
        share, square = t**-0.8, g.astype(np.float64) ** 2
        rows = (1 - share) * rows + share * square.mean(1)
        columns = (1 - share) * columns + share * square.mean(0)
    return np.outer(rows, columns)


def _not_factored(gradients):
    found = 0.0
    for t, g in enumerate(gradients, start=1):
        share = t**-0.8
        found = (1 - share) * found + share * g.astype(np.float64) ** 2
    return found


def _shares_the_wrong_way(gradients):
    rows = columns = 0.0
    for t, g in enumerate(gradients, start=1):
        keep, square = t**-0.8, g.astype(np.float64) ** 2
        rows = keep * rows + (1 - keep) * square.mean(1)
        columns = keep * columns + (1 - keep) * square.mean(0)
    return np.outer(rows, columns) / np.maximum(np.mean(rows), 1e-300)


def _rows_and_columns_swapped(gradients):
    return factored_square([g.T for g in gradients])


def _square_of_the_mean(gradients):
    means = [np.abs(g.astype(np.float64)) for g in gradients]
    rows = columns = 0.0
    for t, g in enumerate(means, start=1):
        share = t**-0.8
        rows = (1 - share) * rows + share * g.mean(1) ** 2
        columns = (1 - share) * columns + share * g.mean(0) ** 2
    return np.outer(rows, columns) / rows.mean()


EXERCISES = (
    Exercise(
        id="04.3",
        title="Adafactor's second moment",
        difficulty=3,
        minutes=15,
        solution=factored_square,
        cases=_draw_gradients,
        oracle=_factored_oracle,
        edge_cases=(
            Case(([np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))],), note="a second gradient of zeros"),
        ),
        tolerance={"float32": (1e-9, 1e-12)},
        same_dtype=False,
        explain=_explain_factored,
        hints=(
            "Square in float64, `square = g.astype(np.float64) ** 2`. Keep two running means, of `square.mean(1)` and "
            "of `square.mean(0)`; never the whole table.",
            "At update t the newest counts with the share `t**-0.8`, which is 1 at t = 1.",
            "`np.outer(rows, columns) / rows.mean()`",
        ),
        wrong={
            "averages all gradients alike": _all_alike,
            "takes the last gradient alone": _last_one_only,
            "does not divide by the mean": _not_divided,
            "keeps the whole table": _not_factored,
            "gives the newest the share of the old": _shares_the_wrong_way,
            "swaps rows and columns": _rows_and_columns_swapped,
            "squares the mean": _square_of_the_mean,
        },
    ),
)
