"""Exercises 02.2 and 02.3: the backward pass of a layer, and a product with the Jacobian of the softmax."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def linear_backward(x, weight, gradient):
    """Return the gradients with respect to ``x``, ``weight`` and ``bias`` of ``x @ weight + bias``."""
    return gradient @ weight.T, x.T @ gradient, gradient.sum(0)


def _linear_oracle(x, weight, gradient):
    (rows, width), classes = x.shape, weight.shape[1]
    for_x, for_weight, for_bias = np.zeros_like(x), np.zeros_like(weight), np.zeros(classes)
    for b in range(rows):
        for k in range(classes):
            for_bias[k] += gradient[b, k]
            for d in range(width):
                for_x[b, d] += gradient[b, k] * weight[d, k]
                for_weight[d, k] += gradient[b, k] * x[b, d]
    return for_x, for_weight, for_bias


def _draw_layer(rng):
    rows, width, classes = rng.integers(1, 5, 3)
    if rng.random() < 0.5:
        width = classes = rows  # all products fit, right or wrong
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return tuple(
        rng.standard_normal(shape).astype(dtype) for shape in ((rows, width), (width, classes), (rows, classes))
    )


def _explain_linear(case, expected, got):
    rows = len(case.args[0])
    names = ("x", "weight", "bias")
    wrong = [n for n, e, g in zip(names, expected, got, strict=True) if not np.allclose(e, g, rtol=1e-3, atol=1e-4)]
    return f"it is the gradient with respect to {' and '.join(wrong)} that is off; the batch has {rows} row(s)"


def _means_over_the_batch(x, weight, gradient):
    return gradient @ weight.T, x.T @ gradient / len(x), gradient.mean(0)


def _bias_not_summed(x, weight, gradient):
    return gradient @ weight.T, x.T @ gradient, gradient


def _bias_with_an_axis_too_many(x, weight, gradient):
    return gradient @ weight.T, x.T @ gradient, gradient.sum(0, keepdims=True)


def _weight_not_transposed(x, weight, gradient):
    return gradient @ weight, x.T @ gradient, gradient.sum(0)


def _weight_gradient_transposed(x, weight, gradient):
    return gradient @ weight.T, gradient.T @ x, gradient.sum(0)


def softmax_vjp(p, v):
    """Return ``v^T J`` for the softmax over the last axis, given its output ``p``."""
    return p * (v - (p * v).sum(-1, keepdims=True))


def _softmax_oracle(p, v):
    found = np.zeros(p.shape)
    for row in np.ndindex(p.shape[:-1]):
        num_classes = p.shape[-1]
        if num_classes > 50:
            found[row] = p[row] * v[row] - p[row] * np.dot(p[row], v[row])
            continue
        for j in range(num_classes):
            found[(*row, j)] = sum(v[row][i] * p[row][i] * ((i == j) - p[row][j]) for i in range(num_classes))
    return found


def _draw_rows(rng):
    shape = (*rng.integers(1, 4, rng.integers(0, 3)), rng.integers(1, 6))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    e = np.exp(rng.standard_normal(shape) * 2)
    return (e / e.sum(-1, keepdims=True)).astype(dtype), rng.standard_normal(shape).astype(dtype)


def _explain_softmax(case, expected, got):
    total = np.abs(np.asarray(got).sum(-1)).max()
    if total > 1e-3:
        return (
            "adding a constant to all inputs of a softmax changes nothing, so each row of the right answer sums to 0; "
            f"here a row sums to {total:.3g}"
        )
    return None


def _long_rows():
    rng = np.random.default_rng(0)
    e = np.exp(rng.standard_normal(150_000))
    return Case(
        (e / e.sum(), rng.standard_normal(e.shape)), note="a row of 150,000 entries: the table would take 180 GB"
    )


def _diagonal_only(p, v):
    return p * (1 - p) * v


def _forgets_the_sum(p, v):
    return p * v


def _sums_over_everything(p, v):
    return p * (v - (p * v).sum())


def _mean_of_v(p, v):
    return p * (v - v.mean(-1, keepdims=True))


def _builds_the_table(p, v):
    if p.shape[-1] > 20_000:
        raise MemoryError("a table of this size does not fit")
    table = p[..., :, None] * (np.eye(p.shape[-1], dtype=p.dtype) - p[..., None, :])
    return (v[..., None, :] @ table)[..., 0, :]


EXERCISES = (
    Exercise(
        id="02.2",
        title="The backward pass of a layer",
        difficulty=2,
        minutes=10,
        solution=linear_backward,
        cases=_draw_layer,
        oracle=_linear_oracle,
        edge_cases=(
            Case((np.ones((1, 3)), np.arange(6.0).reshape(3, 2), np.ones((1, 2))), note="a batch of one"),
            Case((np.zeros((0, 3)), np.ones((3, 2)), np.zeros((0, 2))), note="no row at all"),
            Case(
                (
                    np.array([[1.0, 2.0], [3.0, 4.0]]),
                    np.array([[0.0, 1.0], [2.0, 0.0]]),
                    np.array([[1.0, 0.0], [2.0, 5.0]]),
                ),
                note="everything square, so that a wrong product has the right shape",
            ),
        ),
        explain=_explain_linear,
        hints=(
            "Each gradient has the shape of what it belongs to. For `x` and `weight` one product of `gradient` with "
            "the other factor has that shape.",
            "When all sizes differ, only `gradient @ weight.T` and `x.T @ gradient` fit.",
            "`bias` was repeated for each row. Where forward repeats, backward sums (it does not average).",
        ),
        wrong={
            "averages over the batch": _means_over_the_batch,
            "does not sum the bias's gradient": _bias_not_summed,
            "leaves an axis of length 1 on the bias": _bias_with_an_axis_too_many,
            "forgets to transpose the weight": _weight_not_transposed,
            "returns the weight's gradient transposed": _weight_gradient_transposed,
        },
    ),
    Exercise(
        id="02.3",
        title="Through the softmax without its Jacobian",
        difficulty=3,
        minutes=15,
        solution=softmax_vjp,
        cases=_draw_rows,
        oracle=_softmax_oracle,
        edge_cases=(
            _long_rows(),
            Case((np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[3.0, -2.0], [1.0, 1.0]])), note="a row that is sure"),
            Case((np.array([1.0]), np.array([5.0])), note="one class"),
        ),
        explain=_explain_softmax,
        hints=(
            "Write the sum out: $(v^\\top J)_j = \\sum_i v_i\\, p_i (\\delta_{ij} - p_j)$. Which terms depend on $j$?",
            "The part with $\\delta_{ij}$ leaves $v_j p_j$. In the other part $p_j$ can be taken out of the sum.",
            "What is left is $p_j (v_j - s)$ with one number $s = \\sum_i v_i p_i$ for each row. `keepdims=True` "
            "keeps the axis, so that it can be subtracted.",
        ),
        wrong={
            "uses the diagonal of the Jacobian alone": _diagonal_only,
            "leaves the second term out": _forgets_the_sum,
            "sums over all rows together": _sums_over_everything,
            "subtracts the plain mean of v": _mean_of_v,
            "builds the K by K table": _builds_the_table,
        },
    ),
)
