"""Exercises 20.1 and 20.2: LoRA merged into a matrix, and LoRA's gradients."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def merge(weight, a, b, alpha):
    """Return the frozen matrix with LoRA's update in it."""
    return weight + alpha / len(a) * (b @ a)


def _merge_oracle(weight, a, b, alpha):
    rank = len(a)
    merged = np.empty(np.shape(weight))
    for i in range(len(weight)):
        for j in range(len(weight[0])):
            update = math.fsum(float(b[i][k]) * float(a[k][j]) for k in range(rank))
            merged[i, j] = float(weight[i][j]) + alpha * update / rank
    return merged


def _draw_layer(rng):
    num_in, num_out, rank = int(rng.integers(2, 7)), int(rng.integers(2, 7)), int(rng.integers(1, 5))
    shapes = (num_out, num_in), (rank, num_in), (num_out, rank)
    weight, a, b = (rng.standard_normal(shape) for shape in shapes)
    return weight, a, b, float(rng.choice([3.0, 5.0, 8.0, 16.0]))


def _explain_layer(case, expected, got):
    weight, a, _, alpha = case.args
    return f"W is {weight.shape}, the rank {len(a)}, alpha {alpha:g}"


def _alpha_only(weight, a, b, alpha):
    return weight + alpha * (b @ a)


def _root_of_rank(weight, a, b, alpha):
    return weight + alpha / math.sqrt(len(a)) * (b @ a)


def _update_only(weight, a, b, alpha):
    return alpha / len(a) * (b @ a)


def _unscaled(weight, a, b, alpha):
    return weight + b @ a


def _width_for_rank(weight, a, b, alpha):
    return weight + alpha / a.shape[1] * (b @ a)


def _subtracts(weight, a, b, alpha):
    return weight - alpha / len(a) * (b @ a)


def _in_place(weight, a, b, alpha):
    weight += alpha / len(a) * (b @ a)
    return weight


def lora_gradients(x, a, b, alpha, grad):
    """Return the gradients of A and B."""
    scale = alpha / len(a)
    return scale * (grad @ b).T @ x, scale * grad.T @ (x @ a.T)


def _gradients_oracle(x, a, b, alpha, grad):
    x, a, b, grad = (np.asarray(t, dtype=np.float64) for t in (x, a, b, grad))
    scale, of_a, of_b = alpha / len(a), np.zeros(a.shape), np.zeros(b.shape)
    for row, slope in zip(x, grad, strict=True):
        inner = [math.fsum(a[k] * row) for k in range(len(a))]
        for i in range(len(slope)):
            for k in range(len(a)):
                of_b[i, k] += scale * slope[i] * inner[k]
                of_a[k] += scale * slope[i] * b[i, k] * row
    return of_a, of_b


def _draw_batch(rng):
    _, a, b, alpha = _draw_layer(rng)
    num = int(rng.integers(2, 6))
    x, grad = rng.standard_normal((num, a.shape[1])), rng.standard_normal((num, len(b)))
    return x, a, b, alpha, grad


def _explain_batch(case, expected, got):
    x, a, b, alpha, _ = case.args
    return f"{len(x)} rows, A {a.shape}, B {b.shape}, alpha {alpha:g}"


def _swapped(x, a, b, alpha, grad):
    return lora_gradients(x, a, b, alpha, grad)[::-1]


def _no_scale(x, a, b, alpha, grad):
    return lora_gradients(x, a, b, len(a), grad)


def _squared_scale(x, a, b, alpha, grad):
    return tuple(alpha / len(a) * part for part in lora_gradients(x, a, b, alpha, grad))


def _mean_over_rows(x, a, b, alpha, grad):
    return tuple(part / len(x) for part in lora_gradients(x, a, b, alpha, grad))


def _as_if_b_were_zero(x, a, b, alpha, grad):
    return np.zeros_like(a), lora_gradients(x, a, b, alpha, grad)[1]


def _only_b_scaled(x, a, b, alpha, grad):
    return lora_gradients(x, a, b, len(a), grad)[0], lora_gradients(x, a, b, alpha, grad)[1]


EXERCISES = (
    Exercise(
        id="20.1",
        title="Merge it",
        difficulty=1,
        minutes=10,
        solution=merge,
        cases=_draw_layer,
        oracle=_merge_oracle,
        edge_cases=(
            Case((np.zeros((2, 3)), np.ones((1, 3)), np.array([[1.0], [2.0]]), 4.0), note="a base of zeros"),
            Case((np.ones((3, 2)), np.ones((4, 2)), np.zeros((3, 4)), 8.0), note="B is zero: the base"),
        ),
        explain=_explain_layer,
        hints=(
            "A reads the input and B writes the output: which product of the two has W's shape?",
            "The update is divided by the rank, which is the number of rows of A.",
            "W + alpha / r * (b @ a), as a new array.",
        ),
        wrong={
            "does not divide by the rank": _alpha_only,
            "divides by the root of the rank": _root_of_rank,
            "returns the update alone": _update_only,
            "leaves the scale out": _unscaled,
            "takes the width for the rank": _width_for_rank,
            "subtracts": _subtracts,
            "changes the frozen matrix": _in_place,
        },
    ),
    Exercise(
        id="20.2",
        title="LoRA's gradients",
        difficulty=3,
        minutes=20,
        solution=lora_gradients,
        cases=_draw_batch,
        oracle=_gradients_oracle,
        edge_cases=(
            Case((np.eye(2), np.ones((1, 2)), np.zeros((3, 1)), 2.0, np.ones((2, 3))), note="the first step: B is 0"),
            Case((np.ones((1, 3)), np.eye(3), np.eye(3), 6.0, np.array([[1.0, 0.0, -1.0]])), note="one row"),
        ),
        explain=_explain_batch,
        hints=(
            "Write the layer's part as alpha / r * (x @ a.T) @ b.T, two matrix products one after the other.",
            "For Y = Z @ b.T the gradient of b is grad.T @ Z, and that of Z is grad @ b.",
            "With Z = x @ a.T: of b, scale * grad.T @ Z; of a, scale * (grad @ b).T @ x.",
        ),
        wrong={
            "returns them in the other order": _swapped,
            "leaves the scale out": _no_scale,
            "scales twice": _squared_scale,
            "averages over rows": _mean_over_rows,
            "gives A no gradient": _as_if_b_were_zero,
            "scales one of them only": _only_b_scaled,
        },
    ),
)
