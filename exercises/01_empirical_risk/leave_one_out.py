"""Exercise 01.4: leave-one-out cross-validation of least squares, by one fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from course_lib.study.exercises import Case, Exercise

Array = npt.NDArray[np.floating]


def leave_one_out(A: Array, y: Array) -> Array:
    """Return for each row its target minus its prediction by least squares fitted to all other rows."""
    H = A @ np.linalg.solve(A.T @ A, A.T)  # predictions are H y
    return (y - H @ y) / (1 - np.diag(H))


def _oracle(A, y):
    errors = []
    for row in range(len(y)):
        others = [i for i in range(len(y)) if i != row]
        theta = np.linalg.lstsq(A[others], y[others], rcond=None)[0]
        errors.append(y[row] - sum(a * t for a, t in zip(A[row], theta, strict=True)))
    return np.array(errors)


def _draw(rng):
    width = int(rng.integers(1, 5))
    n = width + int(rng.integers(3, 10))
    A = rng.standard_normal((n, width))
    if rng.random() < 0.6:
        A[:, 0] = 1
    return A, 2 * rng.standard_normal(n) + 3


def _explain(case, expected, got):
    A, y = case.args
    residuals = y - A @ np.linalg.lstsq(A, y, rcond=None)[0]
    if np.mean(np.square(got)) <= np.mean(np.square(residuals)) * 1.001:
        return "these errors are no larger than those on the training rows; a row that was left out is predicted worse"
    return None


def _training_residuals(A, y):
    return y - A @ np.linalg.lstsq(A, y, rcond=None)[0]


def _prediction_minus_target(A, y):
    return -leave_one_out(A, y)


def _average_leverage(A, y):
    n, width = A.shape
    return _training_residuals(A, y) / (1 - width / n)


def _root_of_one_minus_leverage(A, y):
    H = A @ np.linalg.solve(A.T @ A, A.T)
    return (y - H @ y) / np.sqrt(1 - np.diag(H))


def _squared(A, y):
    return leave_one_out(A, y) ** 2


def _predictions(A, y):
    return y - leave_one_out(A, y)


EXERCISES = (
    Exercise(
        id="01.4",
        title="Cross-validation for the price of one fit",
        difficulty=5,
        minutes=25,
        solution=leave_one_out,
        cases=_draw,
        oracle=_oracle,
        tolerance={"float64": (1e-6, 1e-8)},
        edge_cases=(
            Case((np.ones((3, 1)), np.array([0.0, 3.0, 6.0])), note="the class of constants: predict by the mean"),
            Case(
                (np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 10.0]]), np.array([0.0, 1.0, 2.0, 4.0])),
                note="one row far out",
            ),
        ),
        explain=_explain,
        hints=(
            "First write the loop: for each row, `np.linalg.lstsq` on all others (`np.delete(A, row, axis=0)`), and "
            "the error on it.",
            "For one fit: replace $y_i$ by $p_i$, the prediction of the fit without row $i$, and refit with all rows. "
            "The fit does not change: the new point lies on it.",
            "So $p_i$ is $H_{ii}$ times itself plus what the other rows give: "
            "$p_i = \\hat y_i - H_{ii}\\,y_i + H_{ii}\\,p_i$.",
            "Solve for $y_i - p_i$: it is the ordinary residual divided by $1 - H_{ii}$.",
        ),
        wrong={
            "returns the residuals of the full fit": _training_residuals,
            "takes prediction minus target": _prediction_minus_target,
            "divides by the average of 1 - H_ii": _average_leverage,
            "divides by the root of 1 - H_ii": _root_of_one_minus_leverage,
            "squares the errors": _squared,
            "returns predictions": _predictions,
        },
    ),
)
