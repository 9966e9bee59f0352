"""Exercise 03.4: the cross-entropy of a row of logits that comes in pieces, each seen once."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np

from course_lib.study.exercises import Case, Exercise, Property

_LONG = "with this input a long row is tried too"


def streaming_cross_entropy(pieces, target):
    """Return the cross-entropy of one row whose logits come in pieces, each seen once."""
    largest, total, right, seen = -np.inf, 0.0, None, 0
    for piece in pieces:
        if seen <= target < seen + len(piece):
            right = piece[target - seen]
        seen += len(piece)
        higher = max(largest, piece.max(initial=-np.inf))
        if higher == -np.inf:
            continue  # nothing possible so far
        total = total * np.exp(largest - higher) + np.exp(piece - higher).sum()
        largest = higher
    return largest + np.log(total) - right


class _Pieces:
    """An iterator that hands out each piece once, as a view that is overwritten when the next one is asked for."""

    def __init__(self, parts):
        self.parts = [np.asarray(part, dtype=np.float64) for part in parts]
        self.place, self.given = 0, None

    def __iter__(self):
        return self

    def __next__(self):
        if self.given is not None:
            self.given[:] = np.nan  # whoever kept it has kept nothing
        if self.place == len(self.parts):
            raise StopIteration
        self.given = self.parts[self.place].copy()
        self.place += 1
        return self.given

    def __deepcopy__(self, memo):
        return _Pieces(self.parts)  # only copies of the parts are ever handed out

    def __repr__(self):
        return "pieces of logits " + ", ".join(str([float(f"{z:.4g}") for z in part]) for part in self.parts)


def _oracle(pieces, target):
    row = [z for part in pieces.parts for z in part.tolist()]
    largest = max(row)
    return math.log(math.fsum(math.exp(z - largest) for z in row)) + largest - row[target]


def _row(rng, *, size, impossible):
    classes = int(rng.integers(2, 30))
    row = rng.standard_normal(classes) * size + rng.choice([0.0, 1000.0, -1000.0])
    if impossible:
        row[: rng.integers(1, classes)] = -np.inf
        row = rng.permutation(row) if rng.random() < 0.3 else row
    possible = np.flatnonzero(np.isfinite(row))
    cuts = np.sort(rng.integers(0, classes + 1, rng.integers(0, 6)))
    return _Pieces(np.split(row, cuts)), int(rng.choice(possible))


def _draw(rng):
    return _row(rng, size=float(rng.choice([1.0, 30.0, 800.0])), impossible=rng.random() < 0.4)


def _explain(case, expected, got):
    pieces, target = case.args
    sizes = [len(part) for part in pieces.parts]
    largest = [max(part, default=-math.inf) for part in pieces.parts]
    shown = ", ".join(f"{z:.4g}" for z in largest)
    return f"the pieces have {sizes} logits, the largest of each is {shown}, and the target is number {target}"


def _keeps_no_view(function, case, result):
    parts = [np.full(3, z) for z in (0.0, 5.0, -np.inf, 700.0, 3.0)]
    found = function(_Pieces(parts), 10)
    if not np.isclose(found, math.log(3), rtol=1e-9):
        return f"on five pieces of three logits, the largest 700, log(3) was expected, and {found} came"
    return None


def _keeps_no_copy(function, case, result):
    if case.note != _LONG:
        return None  # once is enough: it takes a while
    row = _Pieces([np.full(2000, 1.0)] * 100)
    tracemalloc.start()
    try:
        function(row, 5)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    if peak > 0.5:
        return f"{peak:.1f} MB were held at once for a row of 200,000 logits in pieces of 0.016 MB"
    return None


def _joined(pieces):
    return np.concatenate([piece.copy() for piece in pieces])


def _copies_the_pieces(pieces, target):
    row = _joined(pieces)
    return row.max() + np.log(np.exp(row - row.max()).sum()) - row[target]


def _lists_the_logits(pieces, target):
    row = np.array([z for piece in pieces for z in piece])
    return row.max() + np.log(np.exp(row - row.max()).sum()) - row[target]


def _lengthens_a_row(pieces, target):
    row = np.array([])
    for piece in pieces:
        row = np.concatenate([row, piece])
    return row.max() + np.log(np.exp(row - row.max()).sum()) - row[target]


def _no_shift(pieces, target):
    with np.errstate(all="ignore"):
        row = _joined(pieces)
        return np.log(np.exp(row).sum()) - row[target]


def _shift_by_the_first(pieces, target):
    with np.errstate(all="ignore"):
        first, total, right, seen = None, 0.0, None, 0
        for piece in pieces:
            if seen <= target < seen + len(piece):
                right = piece[target - seen]
            seen += len(piece)
            if first is None and len(piece):
                first = piece.max()
            total += np.exp(piece - first).sum() if len(piece) else 0.0
        return first + np.log(total) - right


def _forgets_to_rescale(pieces, target):
    largest, total, right, seen = -np.inf, 0.0, None, 0
    for piece in pieces:
        if seen <= target < seen + len(piece):
            right = piece[target - seen]
        seen += len(piece)
        largest = max(largest, piece.max(initial=-np.inf))
        if largest > -np.inf:
            total += np.exp(piece - largest).sum()
    return largest + np.log(total) - right


def _impossible_is_nan(pieces, target):
    with np.errstate(all="ignore"):
        largest, total, right, seen = -np.inf, 0.0, None, 0
        for piece in pieces:
            if seen <= target < seen + len(piece):
                right = piece[target - seen]
            seen += len(piece)
            higher = max(largest, piece.max(initial=-np.inf))
            total = total * np.exp(largest - higher) + np.exp(piece - higher).sum()
            largest = higher
        return largest + np.log(total) - right


def _keeps_the_pieces(pieces, target):
    row = np.concatenate(list(pieces))
    return row.max() + np.log(np.exp(row - row.max()).sum()) - row[target]


def _target_within_the_piece(pieces, target):
    row = _joined(pieces)
    return row.max() + np.log(np.exp(row - row.max()).sum()) - row[target - 1]


def _mean_of_pieces(pieces, target):
    found = []
    row = []
    for piece in pieces:
        if len(piece) and piece.max() > -np.inf:
            found.append(piece.max() + np.log(np.exp(piece - piece.max()).sum()))
        row.extend(piece)
    return np.mean(found) - row[target]


EXERCISES = (
    Exercise(
        id="03.4",
        title="Logits that come in pieces",
        difficulty=4,
        minutes=25,
        solution=streaming_cross_entropy,
        cases=_draw,
        oracle=_oracle,
        properties=(
            Property("keeps no piece when it asks for the next", _keeps_no_view),
            Property("never holds more than a piece and a few numbers", _keeps_no_copy),
        ),
        edge_cases=(
            Case((_Pieces([[0.0], [800.0], [0.0]]), 1), note="the largest logit comes second"),
            Case((_Pieces([[-np.inf, -np.inf], [1.0, 2.0]]), 3), note="the first piece holds impossible classes alone"),
            Case((_Pieces([[], [3.0], []]), 0), note="pieces without a logit"),
            Case((_Pieces([[1.0], [2.0]]), 1), note=_LONG),
            Case((_Pieces([[1.0, -np.inf], [-np.inf]]), 0), note="the last piece holds impossible classes alone"),
        ),
        explain=_explain,
        hints=(
            "Keep three things: the largest logit so far, the sum of `exp(z - largest)` so far, the target's logit.",
            "When a larger logit comes, the old sum was taken from another `largest`: multiply it by `exp(old - new)`.",
            "As long as everything is `-inf`, `exp(-inf - (-inf))` is nan: go on to the next piece without computing.",
            "Count the logits seen before a piece: the target lies in it if `seen <= target < seen + len(piece)`.",
        ),
        wrong={
            "takes no maximum out": _no_shift,
            "takes out the first piece's maximum": _shift_by_the_first,
            "does not rescale the sum": _forgets_to_rescale,
            "computes with minus infinity": _impossible_is_nan,
            "keeps all pieces": _keeps_the_pieces,
            "copies all pieces": _copies_the_pieces,
            "lists all logits": _lists_the_logits,
            "lengthens a row": _lengthens_a_row,
            "looks up the wrong logit": _target_within_the_piece,
            "averages over pieces": _mean_of_pieces,
        },
    ),
)
