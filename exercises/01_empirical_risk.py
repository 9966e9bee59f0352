"""Exercises 01.1 to 01.3: how many rows a bound needs, scaling without looking ahead, a gradient."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from course_lib.study.exercises import Case, Exercise

Array = npt.NDArray[np.floating]


def rows_needed(margin: float, doubt: float) -> int:
    """Return the smallest n for which Hoeffding's bound on a gap above ``margin`` is at most ``doubt``."""
    return math.ceil(math.log(2 / doubt) / (2 * margin**2))


def _rows_oracle(margin, doubt):
    n = 1
    while 2 * math.exp(-2 * n * margin**2) > doubt:
        n += 1
    return n


def _draw_margin(rng):
    return float(rng.uniform(0.03, 0.6)), float(rng.choice([rng.uniform(0.001, 0.1), rng.uniform(0.1, 0.9)]))


def _explain_rows(case, expected, got):
    margin, doubt = case.args
    promised = 2 * math.exp(-2 * float(got) * margin**2)
    return f"put your n into the bound: 2 exp(-2 n margin²) is {promised:.3g} there, and doubt is {doubt:.3g}"


def _one_sided(margin, doubt):
    return math.ceil(math.log(1 / doubt) / (2 * margin**2))


def _rounds_down(margin, doubt):
    return int(math.log(2 / doubt) / (2 * margin**2))


def _margin_not_squared(margin, doubt):
    return math.ceil(math.log(2 / doubt) / (2 * margin))


def _common_logarithm(margin, doubt):
    return math.ceil(math.log10(2 / doubt) / (2 * margin**2))


def _forgets_the_two(margin, doubt):
    return math.ceil(math.log(2 / doubt) / margin**2)


def standardise(train_x: Array, test_x: Array) -> tuple[Array, Array]:
    """Return both arrays, columns centred and scaled by the training rows; a constant column is only centred."""
    middle, spread = train_x.mean(0), train_x.std(0)
    spread = np.where(spread == 0, 1, spread)
    return (train_x - middle) / spread, (test_x - middle) / spread


def _standardise_oracle(train_x, test_x):
    train, test = np.empty_like(train_x), np.empty_like(test_x)
    for column in range(train_x.shape[1]):
        values = train_x[:, column].tolist()
        middle = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / len(values)) or 1.0
        train[:, column] = (train_x[:, column] - middle) / spread
        test[:, column] = (test_x[:, column] - middle) / spread
    return train, test


def _draw_parts(rng):
    dtype = (np.float32, np.float64)[rng.integers(2)]
    num_columns = int(rng.integers(1, 5))
    # Quarters, so that the mean of a constant column is exact, and its standard deviation exactly 0.
    train, test = (rng.integers(-20, 21, (int(rng.integers(2, 9)), num_columns)) / 4 for _ in range(2))
    train, test = train * 2.0 ** rng.integers(-2, 5, num_columns), test + 3
    if rng.random() < 0.3:
        train[:, 0] = 2.5
    return train.astype(dtype), test.astype(dtype)


def _explain_standardise(case, expected, got):
    constant = np.ptp(case.args[0], axis=0) == 0
    if constant.any():
        return "one column is constant in the training rows: it is only centred"
    if all(np.allclose(want, part, rtol=1e-3) for want, part in zip(expected, got, strict=True)):
        return "divide each column by exactly its standard deviation: nothing is added to it"
    return None


def _all_rows(train_x, test_x):
    both, _ = standardise(np.concatenate([train_x, test_x]), test_x)
    return both[: len(train_x)], both[len(train_x) :]


def _each_by_itself(train_x, test_x):
    return standardise(train_x, train_x)[0], standardise(test_x, test_x)[0]


def _divides_by_n_minus_1(train_x, test_x):
    middle, spread = train_x.mean(0), train_x.std(0, ddof=1)
    spread = np.where(spread == 0, 1, spread)
    return (train_x - middle) / spread, (test_x - middle) / spread


def _no_constant_columns(train_x, test_x):
    middle, spread = train_x.mean(0), train_x.std(0)
    return (train_x - middle) / spread, (test_x - middle) / spread


def _takes_small_for_constant(train_x, test_x):
    middle, spread = train_x.mean(0), train_x.std(0)
    spread = np.where(spread < 0.05, 1, spread)
    return (train_x - middle) / spread, (test_x - middle) / spread


def _adds_to_the_divisor(train_x, test_x):
    spread = train_x.std(0) + 1e-8
    return (train_x - train_x.mean(0)) / spread, (test_x - train_x.mean(0)) / spread


def _one_mean_for_all(train_x, test_x):
    middle, spread = train_x.mean(), train_x.std() or 1
    return (train_x - middle) / spread, (test_x - middle) / spread


def logistic_gradient(weights: Array, bias: float, x: Array, y: Array, penalty: float) -> tuple[Array, float]:
    """Return the gradient of the regularised risk, as a pair: for the weights, for the bias."""
    scores = x @ weights + bias
    p = (1 + np.tanh(scores / 2)) / 2  # the sigmoid, in a form that never overflows
    error = (p - y) / len(y)
    return x.T @ error + 2 * penalty * weights, error.sum()


def _sigmoid(score):
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    return math.exp(score) / (1 + math.exp(score))


def _logistic_oracle(weights, bias, x, y, penalty):
    for_weights, for_bias = 2 * penalty * weights, 0.0
    for row, label in zip(x, y, strict=True):
        error = _sigmoid(sum(w * value for w, value in zip(weights, row, strict=True)) + bias) - label
        for_weights = for_weights + error * row / len(y)
        for_bias = for_bias + error / len(y)
    return for_weights, for_bias


def _draw_logistic(rng):
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, width = (int(number) for number in rng.integers(1, 7, 2))
    weights, x = rng.standard_normal(width).astype(dtype), rng.standard_normal((n, width)).astype(dtype)
    return weights, float(rng.normal()), x, rng.integers(0, 2, n).astype(dtype), float(rng.choice([0.0, 0.1, 2.0]))


def _large_scores():
    x = np.array([[1000.0], [-1000.0], [1000.0], [0.0]])
    return Case((np.array([1.0]), 0.5, x, np.array([0.0, 1.0, 1.0, 1.0]), 0.25), note="scores of +-1000")


def _sum_not_mean(weights, bias, x, y, penalty):
    error = (1 + np.tanh((x @ weights + bias) / 2)) / 2 - y
    return x.T @ error + 2 * penalty * weights, error.sum()


def _penalty_without_two(weights, bias, x, y, penalty):
    for_weights, for_bias = logistic_gradient(weights, bias, x, y, penalty)
    return for_weights - penalty * weights, for_bias


def _penalises_the_bias(weights, bias, x, y, penalty):
    for_weights, for_bias = logistic_gradient(weights, bias, x, y, penalty)
    return for_weights, for_bias + 2 * penalty * bias


def _target_minus_prediction(weights, bias, x, y, penalty):
    for_weights, for_bias = logistic_gradient(weights, bias, x, y, 0.0)
    return -for_weights + 2 * penalty * weights, -for_bias


def _overflows(weights, bias, x, y, penalty):
    scores = x @ weights + bias
    error = (np.exp(scores) / (1 + np.exp(scores)) - y) / len(y)
    return x.T @ error + 2 * penalty * weights, error.sum()


def _squared_error(weights, bias, x, y, penalty):
    p = (1 + np.tanh((x @ weights + bias) / 2)) / 2
    error = 2 * (p - y) * p * (1 - p) / len(y)
    return x.T @ error + 2 * penalty * weights, error.sum()


EXERCISES = (
    Exercise(
        id="01.1",
        title="How many test examples?",
        difficulty=1,
        minutes=5,
        solution=rows_needed,
        cases=_draw_margin,
        oracle=_rows_oracle,
        edge_cases=(
            Case((0.05, 0.05), note="five points, 95 %"),
            Case((0.9, 0.9), note="a wide margin and little confidence"),
            Case((0.02, 0.01), note="two points, 99 %"),
        ),
        explain=_explain_rows,
        hints=(
            "Set the right side of the bound, `2 * exp(-2 * n * margin**2)`, equal to `doubt`, and solve for n.",
            "Divide by 2, take the natural logarithm: `-2 * n * margin**2 = log(doubt / 2)`.",
            "`n = log(2 / doubt) / (2 * margin**2)`, and n is a whole number, no smaller: `math.ceil`.",
        ),
        wrong={
            "forgets that the gap has two sides": _one_sided,
            "rounds down": _rounds_down,
            "does not square the margin": _margin_not_squared,
            "takes the logarithm to base 10": _common_logarithm,
            "loses the factor 2 of the exponent": _forgets_the_two,
        },
    ),
    Exercise(
        id="01.2",
        title="Scaling that does not look ahead",
        difficulty=2,
        minutes=10,
        solution=standardise,
        cases=_draw_parts,
        oracle=_standardise_oracle,
        edge_cases=(
            Case((np.array([[1.0, 2.5], [3.0, 2.5]]), np.array([[2.0, 4.0]])), note="a column constant in training"),
            Case((np.array([[4.0, -1.0]]), np.array([[5.0, 0.0], [4.0, 1.0]])), note="one training row"),
            Case((np.array([[0.0], [2.0]]), np.empty((0, 1))), note="no test row"),
            Case(
                (np.array([[0.001, 1.0], [0.002, 5.0], [0.003, 3.0]]), np.array([[0.004, 2.0]])),
                note="a column that is small, not constant",
            ),
        ),
        explain=_explain_standardise,
        hints=(
            "Compute the mean and the standard deviation of each column once, from `train_x`; use them for both.",
            "`train_x.mean(0)` and `train_x.std(0)` have one number for each column; broadcasting does the rest.",
            "Where the standard deviation is 0, divide by 1: `np.where(spread == 0, 1, spread)`.",
        ),
        wrong={
            "takes the statistics of all rows": _all_rows,
            "scales each part by itself": _each_by_itself,
            "divides by n - 1": _divides_by_n_minus_1,
            "divides by zero for constant columns": _no_constant_columns,
            "takes a small column for a constant one": _takes_small_for_constant,
            "adds a small number to the divisor": _adds_to_the_divisor,
            "takes one mean for all columns": _one_mean_for_all,
        },
    ),
    Exercise(
        id="01.3",
        title="The gradient of logistic regression",
        difficulty=3,
        minutes=15,
        solution=logistic_gradient,
        cases=_draw_logistic,
        oracle=_logistic_oracle,
        edge_cases=(
            _large_scores(),
            Case((np.zeros(2), 0.0, np.array([[1.0, 2.0]]), np.array([1.0]), 0.0), note="the example of section 10"),
            Case((np.array([3.0]), -2.0, np.zeros((2, 1)), np.array([0.0, 1.0]), 0.5), note="inputs are all zero"),
        ),
        hints=(
            "For one example it is (p - y) x for the weights and p - y for the bias. Average, add the penalty's.",
            "The derivative of `penalty * (weights**2).sum()` is `2 * penalty * weights`; the bias has none.",
            "`x.T @ error` sums error times row over all rows at once.",
            "`exp(1000)` is inf, and inf / inf is nan. The same sigmoid without large exponentials: "
            "`(1 + np.tanh(s / 2)) / 2`.",
        ),
        wrong={
            "sums instead of averaging": _sum_not_mean,
            "loses the 2 of the penalty's derivative": _penalty_without_two,
            "penalises the bias": _penalises_the_bias,
            "takes target minus prediction": _target_minus_prediction,
            "overflows for large scores": _overflows,
            "is the gradient of the squared error": _squared_error,
        },
    ),
)
