"""Exercise 06.3: one training step of batch norm, with its running statistics."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def batch_norm_step(x, mean, var, momentum, eps):
    """Return the standardised batch, the new running mean and the new running variance."""
    axes = (0, *range(2, x.ndim))
    count = x.size // x.shape[1]
    batch_mean, batch_var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    out = (x - batch_mean) / np.sqrt(batch_var + eps)
    new_mean = (1 - momentum) * mean + momentum * batch_mean.ravel()
    new_var = (1 - momentum) * var + momentum * batch_var.ravel() * (count / (count - 1))
    return tuple(array.astype(x.dtype) for array in (out, new_mean, new_var))


def _oracle(x, mean, var, momentum, eps):
    out, new_mean, new_var = np.empty_like(x), np.empty_like(mean), np.empty_like(var)
    for channel in range(x.shape[1]):
        values = x[:, channel].ravel()
        centre = sum(values) / len(values)
        squares = sum((value - centre) ** 2 for value in values)
        out[:, channel] = (x[:, channel] - centre) / (squares / len(values) + eps) ** 0.5
        new_mean[channel] = (1 - momentum) * mean[channel] + momentum * centre
        new_var[channel] = (1 - momentum) * var[channel] + momentum * squares / (len(values) - 1)
    return out, new_mean, new_var


def _draw(rng):
    dtype = (np.float32, np.float64)[rng.integers(2)]
    rows, channels, height, width = (int(n) for n in rng.integers(2, 6, 4))
    shape = (rows, channels) if rng.random() < 0.5 else (rows, channels, height, width)
    x = (rng.standard_normal(shape) * rng.uniform(0.2, 3) + rng.uniform(-4, 4)).astype(dtype)
    mean, var = rng.standard_normal(channels).astype(dtype), rng.uniform(0.3, 3, channels).astype(dtype)
    return x, mean, var, float(rng.uniform(0.05, 0.45)), float(rng.choice([1e-5, 1e-3, 0.1]))


def _explain(case, expected, got):
    names = ("standardised batch", "running mean", "running variance")
    wrong = [n for n, e, g in zip(names, expected, got, strict=True) if not np.allclose(e, g, rtol=1e-3, atol=1e-4)]
    x = case.args[0]
    return f"it is the {' and the '.join(wrong)} that is off; there are {x.size // x.shape[1]} values a channel"


def _unbiased_in_the_batch(x, mean, var, momentum, eps):
    axes = (0, *range(2, x.ndim))
    _, new_mean, new_var = batch_norm_step(x, mean, var, momentum, eps)
    out = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True, ddof=1) + eps)
    return out.astype(x.dtype), new_mean, new_var


def _biased_in_the_memory(x, mean, var, momentum, eps):
    out, new_mean, _ = batch_norm_step(x, mean, var, momentum, eps)
    biased = (1 - momentum) * var + momentum * x.var((0, *range(2, x.ndim)))
    return out, new_mean, biased.astype(x.dtype)


def _momentum_the_other_way(x, mean, var, momentum, eps):
    return batch_norm_step(x, mean, var, 1 - momentum, eps)


def _rows_only(x, mean, var, momentum, eps):
    out = (x - x.mean(0)) / np.sqrt(x.var(0) + eps)
    return out.astype(x.dtype), *batch_norm_step(x, mean, var, momentum, eps)[1:]


def _layer_norm_instead(x, mean, var, momentum, eps):
    axes = tuple(range(1, x.ndim))
    out = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return out.astype(x.dtype), *batch_norm_step(x, mean, var, momentum, eps)[1:]


def _eps_outside_the_root(x, mean, var, momentum, eps):
    axes = (0, *range(2, x.ndim))
    out = (x - x.mean(axes, keepdims=True)) / (np.sqrt(x.var(axes, keepdims=True)) + eps)
    return out.astype(x.dtype), *batch_norm_step(x, mean, var, momentum, eps)[1:]


def _uses_the_running_statistics(x, mean, var, momentum, eps):
    shape = (1, -1, *[1] * (x.ndim - 2))
    out = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return out.astype(x.dtype), *batch_norm_step(x, mean, var, momentum, eps)[1:]


def _remembers_only_the_last(x, mean, var, momentum, eps):
    return batch_norm_step(x, mean, var, 1.0, eps)


EXERCISES = (
    Exercise(
        id="06.3",
        title="One training step of batch norm",
        difficulty=3,
        minutes=20,
        solution=batch_norm_step,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((np.array([[1.0], [3.0]]), np.zeros(1), np.ones(1), 0.1, 1e-5), note="two values, 1 and 3"),
            Case((np.full((3, 2), 7.0), np.zeros(2), np.ones(2), 0.1, 1e-5), note="a channel that does not vary"),
            Case(
                (np.arange(8.0).reshape(1, 2, 2, 2), np.ones(2), np.ones(2), 0.25, 1e-3), note="one picture, 4 pixels"
            ),
        ),
        explain=_explain,
        hints=(
            "Which axes share a mean? All but the channels': axis 0, and axes 2, 3 where they exist.",
            "`axes = (0, *range(2, x.ndim))`; with `keepdims=True` the result broadcasts against `x`.",
            "The batch is divided by the root of `x.var(axes)` (divided by n) plus eps. The running variance is fed "
            "n / (n - 1) times that, n being the number of values a channel.",
            "new = (1 - momentum) * old + momentum * what this batch gave.",
        ),
        wrong={
            "divides the batch by the unbiased variance": _unbiased_in_the_batch,
            "remembers the biased variance": _biased_in_the_memory,
            "takes momentum for the weight of the old": _momentum_the_other_way,
            "averages over rows only": _rows_only,
            "standardises each example": _layer_norm_instead,
            "adds eps to the standard deviation": _eps_outside_the_root,
            "uses the running statistics in training": _uses_the_running_statistics,
            "remembers only the last batch": _remembers_only_the_last,
        },
    ),
)
