"""Exercise 18.4: an interpolated Kneser-Ney bigram from a text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from course_lib.study.exercises import Case, Exercise


def kneser_ney(tokens, vocab_size, discount, context):
    """Return the distribution after context under an interpolated Kneser-Ney bigram."""
    counts = np.zeros((vocab_size, vocab_size))
    for before, after in pairwise(tokens):
        counts[before, after] += 1
    different = counts > 0
    q = different.sum(0) / different.sum()
    row = counts[context]
    if row.sum() == 0:
        return q
    return (np.maximum(row - discount, 0) + discount * different[context].sum() * q) / row.sum()


def _oracle(tokens, vocab_size, discount, context):
    pairs: dict[tuple[int, int], int] = {}
    for i in range(1, len(tokens)):
        pair = tokens[i - 1], tokens[i]
        pairs[pair] = pairs.get(pair, 0) + 1
    q = [sum(1 for _, b in pairs if b == w) / len(pairs) for w in range(vocab_size)]
    after = {b: c for (a, b), c in pairs.items() if a == context}
    total = sum(after.values())
    if not total:
        return np.array(q)
    mass = discount * len(after) / total
    return np.array([max(after.get(w, 0) - discount, 0) / total + mass * q[w] for w in range(vocab_size)])


def _draw_text(rng):
    vocab_size = int(rng.integers(3, 8))
    used = rng.permutation(vocab_size)[: rng.integers(2, vocab_size + 1)]
    tokens = rng.choice(used, rng.integers(2, 40)).tolist()
    return tokens, vocab_size, float(rng.uniform(0.2, 0.9)), int(rng.integers(0, vocab_size))


def _explain(case, expected, got):
    if np.shape(got) != np.shape(expected):
        return None
    total = float(np.sum(got))
    if abs(total - 1) > 1e-6:
        return f"your probabilities add up to {total:.4g}: what the discounts take must be what q gets to share out"
    tokens, _, _, context = case.args
    return f"{context} was followed by something {tokens[:-1].count(context)} time(s)"


def _plain_counts_below(tokens, vocab_size, discount, context):
    q = np.bincount(tokens[1:], minlength=vocab_size) / (len(tokens) - 1)
    row = np.bincount([b for a, b in pairwise(tokens) if a == context], minlength=vocab_size)
    if row.sum() == 0:
        return q
    return (np.maximum(row - discount, 0) + discount * (row > 0).sum() * q) / row.sum()


def _loses_the_mass(tokens, vocab_size, discount, context):
    row = np.bincount([b for a, b in pairwise(tokens) if a == context], minlength=vocab_size)
    if row.sum() == 0:
        return kneser_ney(tokens, vocab_size, discount, context)
    return np.maximum(row - discount, 0) / row.sum()


def _one_discount_a_context(tokens, vocab_size, discount, context):
    q = kneser_ney([*tokens], vocab_size, 0.0, context) * 0 + _continuation(tokens, vocab_size)
    row = np.bincount([b for a, b in pairwise(tokens) if a == context], minlength=vocab_size)
    if row.sum() == 0:
        return q
    return (np.maximum(row - discount, 0) + discount * q) / row.sum()


def _continuation(tokens, vocab_size):
    pairs = set(pairwise(tokens))
    return np.bincount([b for _, b in pairs], minlength=vocab_size) / len(pairs)


def _successors_not_predecessors(tokens, vocab_size, discount, context):
    pairs = set(pairwise(tokens))
    q = np.bincount([a for a, _ in pairs], minlength=vocab_size) / len(pairs)
    row = np.bincount([b for a, b in pairwise(tokens) if a == context], minlength=vocab_size)
    if row.sum() == 0:
        return q
    return (np.maximum(row - discount, 0) + discount * (row > 0).sum() * q) / row.sum()


def _uniform_when_unseen(tokens, vocab_size, discount, context):
    if context not in tokens[:-1]:
        return np.full(vocab_size, 1 / vocab_size)
    return kneser_ney(tokens, vocab_size, discount, context)


def _backs_off(tokens, vocab_size, discount, context):
    row = np.bincount([b for a, b in pairwise(tokens) if a == context], minlength=vocab_size)
    q = _continuation(tokens, vocab_size)
    if row.sum() == 0:
        return q
    unseen = np.where(row > 0, 0, q)
    mass = discount * (row > 0).sum() / row.sum()
    shared = mass * unseen / unseen.sum() if unseen.sum() else mass * q
    return np.maximum(row - discount, 0) / row.sum() + shared


EXERCISES = (
    Exercise(
        id="18.4",
        title="A Kneser-Ney bigram",
        difficulty=4,
        minutes=25,
        solution=kneser_ney,
        cases=_draw_text,
        oracle=_oracle,
        edge_cases=(
            Case(([0, 1, 0, 1, 1, 2], 4, 0.5, 2), note="the context ends the text: nothing ever followed it"),
            Case(([4, 5] * 4 + [2, 1, 3, 1, 6, 1], 8, 0.75, 7), note="a context that is not in the text"),
            Case(([1, 1, 1, 1], 2, 0.5, 1), note="one bigram, three times"),
        ),
        explain=_explain,
        hints=(
            "Make a table of counts, one row a context: `counts[before, after] += 1` for each pair of neighbours.",
            "`different = counts > 0`; q is its column sums over its sum. The context's row gives the rest.",
            "`(np.maximum(row - discount, 0) + discount * different[context].sum() * q) / row.sum()`",
        ),
        wrong={
            "counts how often, not after how many": _plain_counts_below,
            "loses what the discount takes": _loses_the_mass,
            "hands on one discount for each context": _one_discount_a_context,
            "counts what followed, not what stood before": _successors_not_predecessors,
            "is uniform where nothing was seen": _uniform_when_unseen,
            "gives the rest to unseen tokens alone": _backs_off,
        },
    ),
)
