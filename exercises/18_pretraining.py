"""Exercises 18.1 and 18.2: perplexity of a padded batch, packing without losing a token."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def perplexity(log_probs, targets):
    """Return the perplexity over all targets that are not -100."""
    real = targets != -100
    rows = log_probs[real].astype(np.float64)
    return math.exp(-rows[np.arange(len(rows)), targets[real]].mean())


def _perplexity_oracle(log_probs, targets):
    total, count = 0.0, 0
    for row, wanted in zip(log_probs, targets, strict=True):
        for guess, target in zip(row, wanted, strict=True):
            if target != -100:
                total += float(guess[int(target)])
                count += 1
    return math.exp(-total / count)


def _draw_batch(rng):
    num_rows, length, vocabulary = int(rng.integers(1, 5)), int(rng.integers(1, 7)), int(rng.integers(2, 9))
    scores = 2 * rng.standard_normal((num_rows, length, vocabulary))
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    targets = rng.integers(0, vocabulary, (num_rows, length))
    for row in targets:
        row[int(rng.integers(0, length + 1)) :] = -100
    targets[0, 0] = rng.integers(0, vocabulary)
    return scores.astype((np.float32, np.float64)[rng.integers(2)]), targets


def _explain_perplexity(case, expected, got):
    real = int((case.args[1] != -100).sum())
    return f"{real} of {case.args[1].size} targets are real; the mean is over these, in nats, before exp"


def _counts_padding(log_probs, targets):
    picked = np.take_along_axis(log_probs, np.where(targets == -100, 0, targets)[..., None], -1)[..., 0]
    return float(np.exp(-np.where(targets == -100, 0.0, picked).mean()))


def _takes_padding_from_the_end(log_probs, targets):
    wanted = np.where(targets == -100, -1, targets)
    return float(np.exp(-np.take_along_axis(log_probs, wanted[..., None] % log_probs.shape[-1], -1).mean()))


def _mean_of_rows(log_probs, targets):
    rows = [perplexity(a[None], b[None]) for a, b in zip(log_probs, targets, strict=True) if (b != -100).any()]
    return float(np.mean(rows))


def _mean_of_exponents(log_probs, targets):
    real = targets != -100
    rows = log_probs[real]
    return float(np.exp(-rows[np.arange(len(rows)), targets[real]]).mean())


def _in_bits(log_probs, targets):
    return float(2 ** np.log(perplexity(log_probs, targets)))


def _forgets_exp(log_probs, targets):
    return math.log(perplexity(log_probs, targets))


def pack_windows(documents, length, separator):
    """Return the rows of inputs and the rows of targets."""
    stream = [separator]
    for document in documents:
        stream += [*document, separator]
    inputs, targets = stream[:-1], stream[1:]
    missing = -len(inputs) % length
    inputs, targets = inputs + [separator] * missing, targets + [-100] * missing
    starts = range(0, len(inputs), length)
    return [inputs[i : i + length] for i in starts], [targets[i : i + length] for i in starts]


def _pack_oracle(documents, length, separator):
    pairs, before = [], separator
    for document in documents:
        for token in (*document, separator):
            pairs.append((before, token))
            before = token
    while len(pairs) % length:
        pairs.append((separator, -100))
    num = len(pairs) // length
    inputs = [[pairs[row * length + place][0] for place in range(length)] for row in range(num)]
    targets = [[pairs[row * length + place][1] for place in range(length)] for row in range(num)]
    return inputs, targets


def _draw_documents(rng):
    separator = int(rng.integers(0, 20))
    ids = [i for i in range(20) if i != separator]
    documents = [rng.choice(ids, rng.integers(0, 7)).tolist() for _ in range(rng.integers(1, 5))]
    return documents, int(rng.integers(1, 7)), separator


def _explain_pack(case, expected, got):
    documents, length, _ = case.args
    real = sum(len(document) + 1 for document in documents)
    return f"{real} targets in rows of {length} make {len(expected[0])} rows, with {-real % length} places filled up"


def _drops_the_rest(documents, length, separator):
    inputs, targets = pack_windows(documents, length, separator)
    whole = [i for i, row in enumerate(targets) if -100 not in row]
    return [inputs[i] for i in whole], [targets[i] for i in whole]


def _not_shifted(documents, length, separator):
    _, targets = pack_windows(documents, length, separator)
    return [[separator if token == -100 else token for token in row] for row in targets], targets


def _shifts_within_the_row(documents, length, separator):
    inputs, _ = pack_windows(documents, length, separator)
    return inputs, [[*row[1:], -100] for row in inputs]


def _no_last_separator(documents, length, separator):
    stream = [separator]
    for i, document in enumerate(documents):
        stream += [*document, separator] if i < len(documents) - 1 else document
    inputs, targets = stream[:-1], stream[1:]
    missing = -len(inputs) % length
    inputs, targets = inputs + [separator] * missing, targets + [-100] * missing
    starts = range(0, len(inputs), length)
    return [inputs[i : i + length] for i in starts], [targets[i : i + length] for i in starts]


def _always_fills_up(documents, length, separator):
    inputs, targets = pack_windows(documents, length, separator)
    if -100 not in targets[-1]:
        return [*inputs, [separator] * length], [*targets, [-100] * length]
    return inputs, targets


def _trains_on_padding(documents, length, separator):
    inputs, targets = pack_windows(documents, length, separator)
    return inputs, [[separator if token == -100 else token for token in row] for row in targets]


EXERCISES = (
    Exercise(
        id="18.1",
        title="Perplexity of a padded batch",
        difficulty=1,
        minutes=10,
        solution=perplexity,
        cases=_draw_batch,
        oracle=_perplexity_oracle,
        edge_cases=(
            Case((np.log(np.full((1, 3, 4), 0.25)), np.array([[1, 3, 0]])), note="four equally likely tokens"),
            Case((np.log(np.full((2, 2, 2), 0.5)), np.array([[1, -100], [-100, -100]])), note="one real target"),
        ),
        tolerance={"float32": (1e-5, 1e-6)},
        explain=_explain_perplexity,
        hints=(
            "A boolean array `targets != -100` picks the real places out of both arrays.",
            "`rows = log_probs[real]` has one row of V numbers for each; take the entry of its target.",
            "`math.exp(-rows[np.arange(len(rows)), targets[real]].mean())`",
        ),
        wrong={
            "counts padding as a target": _counts_padding,
            "reads padding as a token": _takes_padding_from_the_end,
            "averages the perplexities of rows": _mean_of_rows,
            "averages 1/p": _mean_of_exponents,
            "takes two to the power of nats": _in_bits,
            "returns the loss": _forgets_exp,
        },
    ),
    Exercise(
        id="18.2",
        title="Pack without losing a token",
        difficulty=2,
        minutes=15,
        solution=pack_windows,
        cases=_draw_documents,
        oracle=_pack_oracle,
        edge_cases=(
            Case(([[1, 2, 3]], 4, 0), note="it fits exactly"),
            Case(([[]], 3, 7), note="one empty document"),
            Case(([[1, 2], [3]], 1, 0), note="rows of one token"),
        ),
        explain=_explain_pack,
        hints=(
            "Make one stream first: separator, document, separator, document, ..., separator.",
            "Inputs are the stream without its last token, targets the stream without its first.",
            "`-n % length` places are missing in the last row of n.",
        ),
        wrong={
            "drops the ragged end": _drops_the_rest,
            "does not shift": _not_shifted,
            "shifts each row by itself": _shifts_within_the_row,
            "forgets the last separator": _no_last_separator,
            "adds a row of padding alone": _always_fills_up,
            "trains on padding": _trains_on_padding,
        },
    ),
)
