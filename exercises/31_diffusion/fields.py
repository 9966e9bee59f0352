"""Exercises 31.3 and 31.4: the perfect denoiser of a finite list, and a guided path along a flow."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from course_lib.study.exercises import Case, Exercise, Property


def expected_noise(x_t, data, a, b):
    """Return the mean of the noise, given where each row is."""
    noise = (x_t[:, None] - a * data) / b  # what the noise was, if it was this one of the data
    log_weight = -np.square(noise).sum(-1) / 2
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    return ((weight / weight.sum(1, keepdims=True))[..., None] * noise).sum(1).astype(x_t.dtype)


def _expected_oracle(x_t, data, a, b):
    out = np.zeros(x_t.shape)
    for i, x in enumerate(x_t.astype(np.float64)):
        logs = [-sum(((u - a * d) / b) ** 2 for u, d in zip(x, row, strict=True)) / 2 for row in data]
        weights = [math.exp(log - max(logs)) for log in logs]
        for j, row in enumerate(data):
            for k in range(len(x)):
                out[i, k] += weights[j] / sum(weights) * (x[k] - a * row[k]) / b
    return out


def _draw_list(rng):
    rows, items, width = rng.integers(2, 5), rng.integers(2, 6), rng.integers(1, 4)
    a = float(rng.uniform(0.2, 0.95))
    b = math.sqrt(1 - a * a)
    data = 2 * rng.standard_normal((items, width))
    x_t = a * data[rng.integers(items, size=rows)] + b * rng.standard_normal((rows, width))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return x_t.astype(dtype), data.astype(dtype), a, b


def _explain_list(case, expected, got):
    if not np.isfinite(got).all():
        return f"there are numbers in it that are not finite, at b = {case.args[3]:.3g}"
    off = ~np.isclose(got, expected, rtol=1e-3, atol=1e-4).all(1)
    return f"rows {np.flatnonzero(off).tolist()} of {len(expected)} are off, b = {case.args[3]:.2g}"


def _weighed(x_t, data, a, b, exponent):
    noise = (x_t[:, None] - a * data) / b
    log_weight = exponent(x_t, data, a, b)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    return ((weight / weight.sum(1, keepdims=True))[..., None] * noise).sum(1).astype(x_t.dtype)


def _not_halved(x_t, data, a, b):
    return _weighed(x_t, data, a, b, lambda x, d, a, b: -np.square((x[:, None] - a * d) / b).sum(-1))


def _over_b(x_t, data, a, b):
    return _weighed(x_t, data, a, b, lambda x, d, a, b: -np.square(x[:, None] - a * d).sum(-1) / (2 * b))


def _not_scaled_data(x_t, data, a, b):
    return _weighed(x_t, data, a, b, lambda x, d, a, b: -np.square((x[:, None] - d) / b).sum(-1) / 2)


def _nearest_only(x_t, data, a, b):
    noise = (x_t[:, None] - a * data) / b
    best = np.square(noise).sum(-1).argmin(1)
    return noise[np.arange(len(x_t)), best].astype(x_t.dtype)


def _plain_mean(x_t, data, a, b):
    return ((x_t - a * data.mean(0)) / b).astype(x_t.dtype)


def _underflows(x_t, data, a, b):
    noise = (x_t[:, None] - a * data) / b
    with np.errstate(all="ignore"):
        weight = np.exp(-np.square(noise).sum(-1) / 2)
        return ((weight / weight.sum(1, keepdims=True))[..., None] * noise).sum(1).astype(x_t.dtype)


def _the_score(x_t, data, a, b):
    return (-expected_noise(x_t, data, a, b) / b).astype(x_t.dtype)


def _the_data(x_t, data, a, b):
    return ((x_t - b * expected_noise(x_t, data, a, b)) / a).astype(x_t.dtype)


def guided_euler(velocity, x, label, num_steps, w):
    """Return the sample at the end of the guided path."""
    for step in range(num_steps):
        s = 1 - step / num_steps
        if w == 0:
            v = velocity(x, s, None)
        elif w == 1:
            v = velocity(x, s, label)
        else:
            without = velocity(x, s, None)
            v = without + w * (velocity(x, s, label) - without)
        x = x - v / num_steps
    return x


class _Field:
    """A curved field that depends on place, time and label, and counts how it is asked."""

    def __init__(self, pull, turn):
        self.pull, self.turn, self.with_label, self.without = pull, turn, 0, 0

    def __deepcopy__(self, memo):
        return self

    def __call__(self, x, s, label=None):
        self.with_label += label is not None
        self.without += label is None
        target = 0.0 if label is None else 1.0 + label
        return self.pull * (np.asarray(x) - target) * (0.3 + s * s) + self.turn * np.sin(3 * s) + 0.1 * target * s


def _guided_oracle(velocity, x, label, num_steps, w):
    x = np.array(x, dtype=np.float64)
    times = [1 - i / num_steps for i in range(num_steps + 1)]
    for now, following in pairwise(times):
        v = (1 - w) * velocity(x, now, None) + w * velocity(x, now, label)
        x = x + (following - now) * v
    return x


def _draw_path(rng):
    field = _Field(float(rng.uniform(0.3, 2.0)), float(rng.uniform(0.5, 2.0)))
    x = rng.standard_normal(tuple(rng.integers(1, 4, rng.integers(1, 4))))
    w = (0.0, 1.0, float(rng.uniform(1.2, 4.0)))[rng.integers(3)]
    return field, x, int(rng.integers(0, 4)), int(rng.integers(1, 7)), w


def _thrifty(function, case, result):
    field, x, label, num_steps, w = case.args
    counted, kept = _Field(field.pull, field.turn), np.array(x)
    mine = np.array(x)
    function(counted, mine, label, num_steps, w)
    if not np.array_equal(mine, kept):
        return "it changed the noise in place"
    allowed = {0.0: (0, num_steps), 1.0: (num_steps, 0)}.get(w, (num_steps, num_steps))
    if (counted.with_label, counted.without) != allowed:
        return (
            f"with w = {w:.2f} and {num_steps} steps it asked {counted.with_label} times with the label and "
            f"{counted.without} times without; {allowed[0]} and {allowed[1]} are needed"
        )
    return None


def _explain_path(case, expected, got):
    end, right = np.ravel(got)[0], np.ravel(expected)[0]
    return f"{case.args[3]} step(s), w = {case.args[4]:.2f}: it ends at {end:.4f}, not {right:.4f}"


def _path(velocity, x, num_steps, direction, first=0):
    for step in range(num_steps):
        x = x - direction(x, 1 - (step + first) / num_steps) / num_steps
    return x


def _wrong_way(velocity, x, label, num_steps, w):
    def v(x, s):
        with_label = velocity(x, s, label)
        return with_label if w == 1 else velocity(x, s, None) if w == 0 else _mix(velocity, x, s, label, w)

    return 2 * x - _path(velocity, x, num_steps, v)


def _mix(velocity, x, s, label, w):
    without = velocity(x, s, None)
    return without + w * (velocity(x, s, label) - without)


def _papers_w(velocity, x, label, num_steps, w):
    return _path(velocity, x, num_steps, lambda x, s: _mix(velocity, x, s, label, w + 1))


def _swapped(velocity, x, label, num_steps, w):
    return _path(velocity, x, num_steps, lambda x, s: _mix(velocity, x, s, label, 1 - w))


def _time_runs_up(velocity, x, label, num_steps, w):
    return _path(velocity, x, num_steps, lambda x, s: _mix(velocity, x, 1 - s, label, w))


def _time_at_the_end(velocity, x, label, num_steps, w):
    return _path(velocity, x, num_steps, lambda x, s: _mix(velocity, x, s, label, w), first=1)


def _always_both(velocity, x, label, num_steps, w):
    return _path(velocity, x, num_steps, lambda x, s: _mix(velocity, x, s, label, w))


def _in_place(velocity, x, label, num_steps, w):
    x -= x - guided_euler(velocity, x, label, num_steps, w)
    return x


def _no_guidance(velocity, x, label, num_steps, w):
    return guided_euler(velocity, x, label, num_steps, 1)


_FAR = Case((np.array([[0.0], [300.0]]), np.array([[0.0], [1.0], [250.0]]), 0.9, 0.001), note="b = 0.001")

EXERCISES = (
    Exercise(
        id="31.3",
        title="The perfect denoiser",
        difficulty=3,
        minutes=20,
        solution=expected_noise,
        cases=_draw_list,
        oracle=_expected_oracle,
        edge_cases=(_FAR,),
        tolerance={"float32": (2e-3, 1e-3)},
        explain=_explain_list,
        hints=(
            "If $x_t$ came from item $j$, the noise was $(x_t - a\\,d_j)/b$. That is an array `(N, M, D)`.",
            "Item $j$ is likely in proportion to $e^{-\\lVert \\text{noise} \\rVert^2 / 2}$: a softmax over the items.",
            "Subtract the largest exponent of each row before `np.exp`, then average the noises with the weights.",
        ),
        wrong={
            "forgets the half in the exponent": _not_halved,
            "divides by b instead of its square": _over_b,
            "compares with data that is not shrunk": _not_scaled_data,
            "takes the nearest item only": _nearest_only,
            "takes all items alike": _plain_mean,
            "underflows": _underflows,
            "returns the score": _the_score,
            "returns the data": _the_data,
        },
    ),
    Exercise(
        id="31.4",
        title="Follow a guided field",
        difficulty=4,
        minutes=20,
        solution=guided_euler,
        cases=_draw_path,
        oracle=_guided_oracle,
        properties=(Property("asks only for what it needs, and leaves the noise alone", _thrifty),),
        explain=_explain_path,
        hints=(
            "The velocity points towards noise: a step of size `1 / num_steps` towards data *subtracts* it.",
            "Ask at the time at which the step begins: 1, then `1 - 1 / num_steps`, and so on.",
            "Guided: `without + w * (with_label - without)`. For `w` of 0 or 1 one of the two is not needed.",
        ),
        wrong={
            "goes the wrong way": _wrong_way,
            "takes the paper's w, which is one less": _papers_w,
            "swaps with and without": _swapped,
            "lets time run up": _time_runs_up,
            "asks at the end of each step": _time_at_the_end,
            "always asks for both": _always_both,
            "changes the noise in place": _in_place,
            "forgets the guidance": _no_guidance,
        },
    ),
)
