"""Exercises 17.1 and 17.2: the parameters of a decoder, attention through a window."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def count_parameters(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    """Return the number of parameters of a Llama-style decoder."""
    narrow = num_kv_heads * (width // num_heads)
    attention = 2 * width * width + 2 * width * narrow
    layer = attention + 3 * width * hidden + 2 * width
    tables = vocab_size * width if tied else 2 * vocab_size * width
    return tables + num_layers * layer + width


def _count_oracle(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    head_width = width // num_heads
    shapes = [(vocab_size, width), (1, width)]
    if not tied:
        shapes.append((width, vocab_size))
    for _ in range(num_layers):
        shapes += [(1, width), (1, width), (width, num_heads * head_width), (num_heads * head_width, width)]
        shapes += [(width, num_kv_heads * head_width), (width, num_kv_heads * head_width)]
        shapes += [(width, hidden), (width, hidden), (hidden, width)]
    return sum(rows * columns for rows, columns in shapes)


def _draw_shape(rng):
    num_kv_heads = int(rng.integers(1, 4))
    num_heads = num_kv_heads * int(rng.integers(1, 4))
    width = num_heads * 2 * int(rng.integers(1, 5))
    numbers = int(rng.integers(5, 60)), width, int(rng.integers(1, 5)), num_heads, num_kv_heads
    return (*numbers, int(rng.integers(3, 50)), bool(rng.integers(2)))


def _explain_count(case, expected, got):
    return f"you are off by {int(got) - int(expected):+,}, with a width of {case.args[1]} and {case.args[2]} layer(s)"


def _all_heads_alike(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    return count_parameters(vocab_size, width, num_layers, num_heads, num_heads, hidden, tied)


def _two_matrices(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    whole = count_parameters(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied)
    return whole - num_layers * width * hidden


def _no_last_norm(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    return count_parameters(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied) - width


def _always_tied(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    return count_parameters(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, True)


def _twelve(vocab_size, width, num_layers, num_heads, num_kv_heads, hidden, tied):
    return vocab_size * width + 12 * width**2 * num_layers


def windowed_attention(q, k, v, window):
    """Return causal attention over the last `window` positions, oneself included."""
    scores = q @ k.T / math.sqrt(q.shape[1])
    distance = np.arange(len(q))[:, None] - np.arange(len(k))
    scores = np.where((distance >= 0) & (distance < window), scores, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return (weights @ v / weights.sum(1, keepdims=True)).astype(v.dtype)


def _window_oracle(q, k, v, window):
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        seen = range(max(0, i - window + 1), i + 1)
        scores = [sum(a * b for a, b in zip(q[i], k[j], strict=True)) / math.sqrt(q.shape[1]) for j in seen]
        weights = [math.exp(score - max(scores)) for score in scores]
        for j, weight in zip(seen, weights, strict=True):
            out[i] += weight / sum(weights) * v[j]
    return out


def _draw_heads(rng):
    length, d, e = rng.integers(2, 9), rng.integers(1, 6), rng.integers(1, 5)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    scale = 3.0 if dtype == np.float32 or rng.integers(3) else 60.0
    q, k = (scale * rng.standard_normal((length, d)) for _ in range(2))
    return q.astype(dtype), k.astype(dtype), rng.standard_normal((length, e)).astype(dtype), int(rng.integers(1, 7))


def _explain_window(case, expected, got):
    if not np.isfinite(got).all():
        return "there are numbers in it that are not finite"
    off = ~np.isclose(got, expected, rtol=1e-3, atol=1e-4).all(1)
    return f"window {case.args[3]}: position(s) {np.flatnonzero(off).tolist()} of {len(expected)} are off"


def _masked(q, k, v, allowed, divisor, stable=True):
    scores = np.where(allowed, q @ k.T / divisor, -np.inf)
    with np.errstate(all="ignore"):
        weights = np.exp(scores - scores.max(1, keepdims=True)) if stable else np.exp(scores)
        return (weights @ v / weights.sum(1, keepdims=True)).astype(v.dtype)


def _distance(q):
    return np.arange(len(q))[:, None] - np.arange(len(q))


def _one_too_many(q, k, v, window):
    distance = _distance(q)
    return _masked(q, k, v, (distance >= 0) & (distance <= window), math.sqrt(q.shape[1]))


def _sees_the_future(q, k, v, window):
    return _masked(q, k, v, abs(_distance(q)) < window, math.sqrt(q.shape[1]))


def _no_window(q, k, v, window):
    return _masked(q, k, v, _distance(q) >= 0, math.sqrt(q.shape[1]))


def _not_scaled(q, k, v, window):
    distance = _distance(q)
    return _masked(q, k, v, (distance >= 0) & (distance < window), 1.0)


def _overflows(q, k, v, window):
    distance = _distance(q)
    return _masked(q, k, v, (distance >= 0) & (distance < window), math.sqrt(q.shape[1]), stable=False)


def _masks_after(q, k, v, window):
    distance = _distance(q)
    scores = q @ k.T / math.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights = weights / weights.sum(1, keepdims=True) * ((distance >= 0) & (distance < window))
    return (weights @ v).astype(v.dtype)


def _masks_with_a_number(q, k, v, window):
    distance = _distance(q)
    scores = np.where((distance >= 0) & (distance < window), q @ k.T / math.sqrt(q.shape[1]), -1e4)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return (weights @ v / weights.sum(1, keepdims=True)).astype(v.dtype)


_Q, _K, _V = np.array([[100.0], [100.0]]), np.array([[90.0], [100.0]]), np.array([[1.0], [2.0]])
_LARGE = Case((_Q, _K, _V, 2), note="scores of 10,000")
_LOW = Case((_Q, _K[::-1] * -1.0, _V, 2), note="scores of -10,000")

EXERCISES = (
    Exercise(
        id="17.1",
        title="How many parameters?",
        difficulty=1,
        minutes=10,
        solution=count_parameters,
        cases=_draw_shape,
        oracle=_count_oracle,
        explain=_explain_count,
        hints=(
            "List the arrays of one layer with their shapes: two gains, four matrices of attention, three of SwiGLU.",
            "A head is `width // num_heads` wide; keys and values have `num_kv_heads` of them.",
            "`2 * width * width + 2 * width * num_kv_heads * (width // num_heads) + 3 * width * hidden + 2 * width` a "
            "layer; then the token table or two, and one more gain.",
        ),
        wrong={
            "gives keys and values all heads": _all_heads_alike,
            "counts two matrices in SwiGLU": _two_matrices,
            "forgets the last norm": _no_last_norm,
            "takes one token table always": _always_tied,
            "takes the rule of thumb": _twelve,
        },
    ),
    Exercise(
        id="17.2",
        title="Attention through a window",
        difficulty=2,
        minutes=15,
        solution=windowed_attention,
        cases=_draw_heads,
        oracle=_window_oracle,
        edge_cases=(_LARGE, _LOW),
        tolerance={"float32": (2e-3, 1e-4)},
        explain=_explain_window,
        hints=(
            "`distance = np.arange(T)[:, None] - np.arange(T)` says how far back each key is; 0 is oneself.",
            "Set the scores of what may not be seen to `-np.inf`, before the softmax.",
            "Subtract the largest score of each row before `np.exp`, then divide by the sum of the row.",
        ),
        wrong={
            "looks one position too far back": _one_too_many,
            "sees the future": _sees_the_future,
            "has no window": _no_window,
            "does not divide by the root": _not_scaled,
            "overflows": _overflows,
            "masks after the softmax": _masks_after,
            "masks with a number that scores may reach": _masks_with_a_number,
        },
    ),
)
