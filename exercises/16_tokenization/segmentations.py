"""Exercise 16.4: the probability of a text under Unigram, over all its segmentations."""

from __future__ import annotations

import functools
import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def text_probability(text, p):
    """Return the sum over all segmentations of the product of their pieces' probabilities."""
    total = [1.0] + [0.0] * len(text)  # total[k]: over all ways to write the first k characters
    for end in range(1, len(text) + 1):
        for start in range(end):
            total[end] += total[start] * p.get(text[start:end], 0.0)
    return total[-1]


def _probability_oracle(text, p):
    @functools.cache
    def rest(start):
        if start == len(text):
            return 1.0
        ways = (p[piece] * rest(start + len(piece)) for piece in p if text.startswith(piece, start))
        return math.fsum(ways)

    return rest(0)


def _draw_pieces(rng):
    letters = "abc"[: int(rng.integers(1, 4))]
    pieces = {"".join(rng.choice(list(letters), rng.integers(1, 4))) for _ in range(rng.integers(1, 8))}
    if rng.random() < 0.8:
        pieces |= set(letters)
    weights = rng.dirichlet(np.ones(len(pieces)))
    p = {piece: float(weight) for piece, weight in zip(sorted(pieces), weights, strict=True)}
    return "".join(rng.choice(list(letters), rng.integers(0, 9))), p


def _explain_probability(case, expected, got):
    text, p = case.args
    if expected == 0:
        return "some part of the text is in no piece, so there is no way to write it at all"
    return f"the text has {_number_of_ways(text, p):,} segmentations into the given pieces"


def _number_of_ways(text, p):
    return round(text_probability(text, dict.fromkeys(p, 1.0)))


def _only_the_best(text, p):
    best = [1.0] + [0.0] * len(text)
    for end in range(1, len(text) + 1):
        best[end] = max(best[start] * p.get(text[start:end], 0.0) for start in range(end))
    return best[-1]


def _longest_first(text, p):
    probability = 1.0
    while text:
        end = next((end for end in range(len(text), 0, -1) if text[:end] in p), None)
        if end is None:
            return 0.0
        probability, text = probability * p[text[:end]], text[end:]
    return probability


def _letters(text, p):
    return math.prod(p.get(letter, 0.0) for letter in text)


def _counts_ways(text, p):
    return float(_number_of_ways(text, p))


def _logarithm(text, p):
    value = text_probability(text, p)
    return math.log(value) if value else -math.inf


def _adds_probabilities(text, p):
    total = [0.0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        ways = [total[start] + p[text[start:end]] for start in range(end) if text[start:end] in p]
        total[end] = sum(ways)
    return total[-1]


def _mean_over_ways(text, p):
    ways = _number_of_ways(text, p)
    return text_probability(text, p) / ways if ways else 0.0


def _short_pieces_only(text, p):
    return text_probability(text, {piece: value for piece, value in p.items() if len(piece) < 4})


def _a_little_for_unknown_pieces(text, p):
    total = [1.0] + [0.0] * len(text)
    for end in range(1, len(text) + 1):
        total[end] = sum(total[start] * p.get(text[start:end], 1e-8) for start in range(end))
    return total[-1]


def _lists_all(text, p, depth=0):
    if depth > 40:
        raise MemoryError("too many segmentations")
    if not text:
        return 1.0
    ends = [end for end in range(1, len(text) + 1) if text[:end] in p]
    return sum(p[text[:end]] * _lists_all(text[end:], p, depth + 1) for end in ends)


def _nothing_for_nothing(text, p):
    return text_probability(text, p) if text else 0.0


EXERCISES = (
    Exercise(
        id="16.4",
        title="How sure is Unigram?",
        difficulty=4,
        minutes=25,
        solution=text_probability,
        cases=_draw_pieces,
        oracle=_probability_oracle,
        edge_cases=(
            Case(("", {"a": 1.0}), note="the empty text"),
            Case(("ab", {"a": 0.5, "b": 0.25, "ab": 0.25}), note="two ways: 0.125 + 0.25"),
            Case(("aba", {"a": 0.5, "ab": 0.5}), note="the longest piece first leaves one way"),
            Case(("ac", {"a": 1.0}), note="a letter that no piece has"),
            Case(("aab", {"aa": 0.5, "ab": 0.5}), note="every letter is in a piece, and yet there is no way"),
            Case(("a" * 200, {"a": 0.5, "aa": 0.5}), note="200 letters, more than 10**41 ways"),
            Case(("tokens", {"tokens": 0.5, "token": 0.2, "s": 0.3}), note="long pieces"),
            Case(("ab" * 20, {"a": 0.001, "b": 0.999}), note="one way, and a tiny probability"),
        ),
        tolerance={"float32": (1e-9, 1e-300)},  # floats among no arrays count as float32
        explain=_explain_probability,
        hints=(
            "As in `most_probable`: work out the answer for the first k characters, for k = 1, 2, 3, and so on.",
            "Every way to write the first k characters ends in one piece. Sum over where that piece starts: the sum "
            "for what comes before it, times the piece's probability.",
            "The empty beginning can be written in one way, with probability 1: `total = [1.0] + [0.0] * len(text)`. "
            "A string that is no piece has `p.get(piece, 0.0)`.",
        ),
        wrong={
            "takes the most probable segmentation alone": _only_the_best,
            "takes the longest piece first": _longest_first,
            "multiplies single letters": _letters,
            "counts the segmentations": _counts_ways,
            "returns the logarithm": _logarithm,
            "adds probabilities along a segmentation": _adds_probabilities,
            "averages over the segmentations": _mean_over_ways,
            "lists all segmentations": _lists_all,
            "looks at pieces of up to three letters": _short_pieces_only,
            "gives unknown pieces a small probability": _a_little_for_unknown_pieces,
            "gives the empty text probability 0": _nothing_for_nothing,
        },
    ),
)
