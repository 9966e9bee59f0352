"""Exercise 17.4: attention over keys and values that come in tiles."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise, Property


def streaming_attention(q, tiles):
    """Return softmax attention over all tiles, seen one after the other."""
    largest, total, out = -np.inf, 0.0, 0.0
    for keys, values in tiles:
        scores = keys @ q / math.sqrt(len(q))
        new = max(largest, scores.max())
        weights, shrink = np.exp(scores - new), np.exp(largest - new)
        total = total * shrink + weights.sum()
        out = out * shrink + weights @ values
        largest = new
    return (out / total).astype(q.dtype)


def _stream_oracle(q, tiles):
    keys, values = (np.concatenate(parts) for parts in zip(*tiles, strict=True))
    scores = [float(sum(a * b for a, b in zip(q, k, strict=True))) / math.sqrt(len(q)) for k in keys]
    weights = [math.exp(score - max(scores)) for score in scores]
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)


def _draw_tiles(rng):
    d, e = rng.integers(1, 6), rng.integers(1, 5)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    scale = 3.0 if dtype == np.float32 or rng.integers(3) else 60.0
    tiles = []
    for _ in range(rng.integers(1, 6)):
        n = rng.integers(1, 5)
        tiles.append(((scale * rng.standard_normal((n, d))).astype(dtype), rng.standard_normal((n, e)).astype(dtype)))
    return (scale * rng.standard_normal(d)).astype(dtype), tiles


class _Stream(list):
    """Tiles of which one can be read at a time: who asks for the next loses the one before."""

    def __init__(self, tiles):
        super().__init__(tiles)
        self.place, self.in_hand, self.went_back = -1, (), False

    def __deepcopy__(self, memo):
        return self  # a copy would be another stream

    def __iter__(self):
        return (self._hand_out(place) for place in range(len(self)))

    def __getitem__(self, place):
        places = range(len(self))[place]
        return self._hand_out(places) if isinstance(places, int) else (self._hand_out(each) for each in places)

    def _hand_out(self, place):
        self.went_back |= place < self.place
        if place != self.place:
            for array in self.in_hand:
                array.fill(np.nan)
            self.place, self.in_hand = place, tuple(array.copy() for array in super().__getitem__(place))
        return self.in_hand


def _once(function, case, result):
    tiles = _Stream(case.args[1])
    got = function(case.args[0], tiles)
    if tiles.went_back:
        return "it went through the tiles a second time"
    if not np.allclose(got, result, rtol=1e-3, atol=1e-4):
        return "it used a tile after it had asked for the next one, when a stream has lost it"
    return None


def _explain_stream(case, expected, got):
    if not np.isfinite(got).all():
        return "there are numbers in it that are not finite"
    return f"{len(case.args[1])} tile(s) of {[len(keys) for keys, _ in case.args[1]]} keys"


def _mean_of_tiles(q, tiles):
    return np.mean([streaming_attention(q, [tile]) for tile in tiles], axis=0).astype(q.dtype)


def _overflows(q, tiles):
    total, out = 0.0, 0.0
    with np.errstate(all="ignore"):
        for keys, values in tiles:
            weights = np.exp(keys @ q / math.sqrt(len(q)))
            total, out = total + weights.sum(), out + weights @ values
        return (out / total).astype(q.dtype)


def _first_maximum(q, tiles):
    total, out, largest = 0.0, 0.0, None
    with np.errstate(all="ignore"):
        for keys, values in tiles:
            scores = keys @ q / math.sqrt(len(q))
            largest = scores.max() if largest is None else largest
            weights = np.exp(scores - largest)
            total, out = total + weights.sum(), out + weights @ values
        return (out / total).astype(q.dtype)


def _forgets_the_sum(q, tiles):
    largest, total, out = -np.inf, 0.0, 0.0
    for keys, values in tiles:
        scores = keys @ q / math.sqrt(len(q))
        new = max(largest, scores.max())
        weights = np.exp(scores - new)
        total, out = total + weights.sum(), out * np.exp(largest - new) + weights @ values
        largest = new
    return (out / total).astype(q.dtype)


def _starts_at_zero(q, tiles):
    largest, total, out = 0.0, 0.0, 0.0
    with np.errstate(all="ignore"):
        for keys, values in tiles:
            scores = keys @ q / math.sqrt(len(q))
            new = max(largest, scores.max())
            weights, shrink = np.exp(scores - new), np.exp(largest - new)
            total, out, largest = total * shrink + weights.sum(), out * shrink + weights @ values, new
        return (out / total).astype(q.dtype)


def _last_tile(q, tiles):
    return streaming_attention(q, tiles[-1:])


def _two_passes(q, tiles):
    largest = max((keys @ q).max() for keys, _ in tiles) / math.sqrt(len(q))
    total, out = 0.0, 0.0
    for keys, values in tiles:
        weights = np.exp(keys @ q / math.sqrt(len(q)) - largest)
        total, out = total + weights.sum(), out + weights @ values
    return (out / total).astype(q.dtype)


def _keeps_all(q, tiles):
    keys, values = (np.concatenate(parts) for parts in zip(*tiles, strict=True))
    return streaming_attention(q, [(keys, values)])


_ONE = np.ones((1, 1))
EXERCISES = (
    Exercise(
        id="17.4",
        title="Attention over a stream",
        difficulty=4,
        minutes=25,
        solution=streaming_attention,
        cases=_draw_tiles,
        oracle=_stream_oracle,
        edge_cases=(
            Case((np.ones(1), [(-1e4 * _ONE, _ONE), (1e4 * _ONE, 2 * _ONE)]), note="scores of -10,000 and 10,000"),
            Case((np.ones(1), [(1e4 * _ONE, _ONE), (-1e4 * _ONE, 2 * _ONE)]), note="scores of 10,000 and -10,000"),
            Case((np.ones(1), [(-1e4 * _ONE, _ONE), (1 - 1e4 * _ONE, 2 * _ONE)]), note="no score above -9,999"),
        ),
        properties=(Property("goes through the tiles once", _once),),
        tolerance={"float32": (2e-3, 1e-4)},
        explain=_explain_stream,
        hints=(
            "Keep three things: the largest score so far (start at `-np.inf`), the sum of weights, the weighted sum of "
            "values, both relative to that largest score.",
            "When a tile brings a larger score, multiply both sums by `np.exp(old - new)` before you add the tile.",
            "After the last tile: the weighted sum divided by the sum of weights.",
        ),
        wrong={
            "averages the tiles' answers": _mean_of_tiles,
            "overflows": _overflows,
            "keeps the first tile's maximum": _first_maximum,
            "does not shrink the sum of weights": _forgets_the_sum,
            "starts from a largest score of 0": _starts_at_zero,
            "answers from the last tile": _last_tile,
            "goes through the tiles twice": _two_passes,
            "keeps all tiles": _keeps_all,
        },
    ),
)
