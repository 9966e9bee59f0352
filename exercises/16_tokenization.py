"""Exercises 16.1 and 16.2: bits per byte from losses, and encoding by the order of merges."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from course_lib.study.exercises import Case, Exercise


def bits_of(losses, texts):
    """Return the bits per byte of texts whose tokens have these losses in nats."""
    num_bytes = sum(len(text.encode()) for text in texts)
    return losses.sum() / (math.log(2) * num_bytes)


def _bits_oracle(losses, texts):
    nats = math.fsum(losses.tolist())
    num_bytes = 0
    for text in texts:
        for character in text:
            num_bytes += len(character.encode("utf-8"))
    return nats / math.log(2) / num_bytes


_ALPHABET = "abcde fgh é ü λ 你 ह 𝄞"


def _draw_losses(rng):
    texts = ["".join(rng.choice(list(_ALPHABET), rng.integers(0, 12))) for _ in range(rng.integers(0, 4))]
    texts.append("".join(rng.choice(list(_ALPHABET), rng.integers(1, 12))))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return rng.exponential(2.0, rng.integers(1, 20)).astype(dtype), texts


def _explain_bits(case, expected, got):
    losses, texts = case.args
    return (
        f"{len(losses)} losses; {len(texts)} texts with {sum(map(len, texts))} characters and "
        f"{sum(len(text.encode()) for text in texts)} bytes; one bit is log(2) = 0.693 nats"
    )


def _per_character(losses, texts):
    return losses.sum() / (math.log(2) * sum(map(len, texts)))


def _per_token(losses, texts):
    return losses.mean() / math.log(2)


def _mean_over_bytes(losses, texts):
    return losses.mean() / (math.log(2) * sum(len(text.encode()) for text in texts))


def _nats(losses, texts):
    return losses.sum() / sum(len(text.encode()) for text in texts)


def _times_log_two(losses, texts):
    return losses.sum() * math.log(2) / sum(len(text.encode()) for text in texts)


def _mean_of_texts(losses, texts):
    return losses.sum() / math.log(2) / np.mean([len(text.encode()) for text in texts])


def _utf16(losses, texts):
    return losses.sum() / (math.log(2) * sum(len(text.encode("utf-16-le")) for text in texts))


def _each_text_once(losses, texts):
    return losses.sum() / (math.log(2) * sum(len(text.encode()) for text in set(texts)))


def encode(ids, merges):
    """Return the ids after applying merges, the earliest first."""
    ids = list(ids)
    for new, pair in enumerate(merges, start=256):  # a later merge never makes room for an earlier one
        out, i = [], 0
        while i < len(ids):
            both = tuple(ids[i : i + 2]) == tuple(pair)
            out.append(new if both else ids[i])
            i += 2 if both else 1
        ids = out
    return ids


def _replaced(ids, pair, new):
    out = []
    for token in ids:
        out.append(token)
        if tuple(out[-2:]) == pair:
            out[-2:] = [new]
    return out


def _encode_oracle(ids, merges):
    ids = list(ids)
    while True:
        present = [k for k, pair in enumerate(merges) if pair in set(pairwise(ids))]
        if not present:
            return ids
        ids = _replaced(ids, merges[present[0]], 256 + present[0])


def _draw_encoding(rng):
    known, merges = list(range(97, 97 + int(rng.integers(1, 4)))), []
    text = [int(token) for token in rng.choice(known, 40)]
    for new in range(256, 256 + int(rng.integers(0, 8))):
        pairs = sorted(set(pairwise(text)) - set(merges))
        if not pairs:
            break
        merges.append(pairs[rng.integers(len(pairs))])
        text = _replaced(text, merges[-1], new)
    return [int(token) for token in rng.choice([*known, 32], rng.integers(0, 25))], merges


def _explain_encode(case, expected, got):
    _, merges = case.args
    later = [k for k, pair in enumerate(merges) if pair in set(pairwise(got))]
    if later:
        return f"your result still has the pair {merges[later[0]]}, which becomes {256 + later[0]}"
    return "which pair is joined first decides which others are left: follow the order of the merges by hand"


def _left_to_right(ids, merges):
    ranks, out = {pair: 256 + k for k, pair in enumerate(merges)}, []
    for token in ids:
        out.append(token)
        while tuple(out[-2:]) in ranks:
            out[-2:] = [ranks[tuple(out[-2:])]]
    return out


def _longest_first(ids, merges):
    spelt = {(token,): token for token in range(256)}
    table = {token: (token,) for token in range(256)}
    for new, (left, right) in enumerate(merges, start=256):
        table[new] = table[left] + table[right]
        spelt[table[new]] = new
    out, i = [], 0
    while i < len(ids):
        end = next(end for end in range(len(ids), i, -1) if tuple(ids[i:end]) in spelt)
        out.append(spelt[tuple(ids[i:end])])
        i = end
    return out


def _latest_first(ids, merges):
    ids = list(ids)
    while True:
        present = [k for k, pair in enumerate(merges) if pair in set(pairwise(ids))]
        if not present:
            return ids
        ids = _replaced(ids, merges[present[-1]], 256 + present[-1])


def _each_merge_once(ids, merges):
    ids = list(ids)
    for k, pair in enumerate(merges):
        for i in range(len(ids) - 1):
            if (ids[i], ids[i + 1]) == pair:
                ids[i : i + 2] = [256 + k]
                break
    return ids


def _from_the_right(ids, merges):
    ids = list(ids)
    for k, pair in enumerate(merges):
        ids = _replaced(ids[::-1], pair[::-1], 256 + k)[::-1]
    return ids


def _counts_from_zero(ids, merges):
    return [token - 256 if token > 255 else token for token in encode(ids, merges)]


def _most_frequent_first(ids, merges):
    ids = list(ids)
    while True:
        pairs = list(pairwise(ids))
        present = [k for k, pair in enumerate(merges) if pair in pairs]
        if not present:
            return ids
        best = max(present, key=lambda k: pairs.count(merges[k]))
        ids = _replaced(ids, merges[best], 256 + best)


def _replaces_in_a_string(ids, merges):
    written = ",".join(map(str, ids))
    for new, (left, right) in enumerate(merges, start=256):
        written = written.replace(f"{left},{right}", str(new))
    return [int(token) for token in written.split(",")] if written else []


EXERCISES = (
    Exercise(
        id="16.1",
        title="Bits per byte",
        difficulty=1,
        minutes=5,
        solution=bits_of,
        cases=_draw_losses,
        oracle=_bits_oracle,
        edge_cases=(
            Case((np.array([math.log(2)] * 8), ["a"]), note="eight tokens of one bit each, one byte"),
            Case((np.array([1.0, 2.0]), ["", "λ"]), note="an empty text, and one character of two bytes"),
            Case((np.array([3.0]), ["The cat.", "The mat."]), note="one token for two texts"),
            Case((np.array([1.0, 1.0]), ["ab", "ab"]), note="the same text twice"),
        ),
        explain=_explain_bits,
        hints=(
            "Add up all losses: that is the text's negative log-likelihood, whatever the tokens are.",
            "One bit is `math.log(2)` nats, so divide the nats by it.",
            "Bytes are not characters: `len(text.encode())`, added up over the texts.",
        ),
        wrong={
            "counts characters": _per_character,
            "gives bits per token": _per_token,
            "takes the mean loss instead of the sum": _mean_over_bytes,
            "stays in nats": _nats,
            "multiplies by log 2": _times_log_two,
            "divides by the mean size of a text": _mean_of_texts,
            "counts the bytes of UTF-16": _utf16,
            "counts a repeated text once": _each_text_once,
        },
    ),
    Exercise(
        id="16.2",
        title="Encode by the order of merges",
        difficulty=2,
        minutes=15,
        solution=encode,
        cases=_draw_encoding,
        oracle=_encode_oracle,
        edge_cases=(
            Case(([], [(97, 98)]), note="no token at all"),
            Case(([97, 98], []), note="no merge at all"),
            Case(([97, 97, 97], [(97, 97)]), note="three alike: from left to right"),
            Case(([97, 98, 99], [(98, 99), (97, 98)]), note="the later merge comes first in the text"),
            Case(([97, 98, 99, 100], [(98, 99), (97, 98), (99, 100)]), note="the middle first"),
            Case(([97, 98, 97, 98, 97, 98], [(97, 98), (256, 256)]), note="a merge of merged tokens"),
            Case(([97, 98, 98, 97, 98], [(98, 97), (97, 98), (98, 256)]), note="one pair is on both sides"),
            Case(([197, 98, 97, 98, 97, 981], [(97, 98), (256, 256)]), note="ids whose digits look like a pair"),
        ),
        explain=_explain_encode,
        hints=(
            "Go through `merges` in order, and apply each to the whole list before the next.",
            "One pass from left to right: if the next two ids are the pair, append the new id and go on by two, else "
            "append one id and go on by one.",
            "The pair at place k becomes `256 + k`: `enumerate(merges, start=256)`.",
        ),
        wrong={
            "joins whatever it can, from left to right": _left_to_right,
            "takes the longest token first": _longest_first,
            "applies the latest merge first": _latest_first,
            "applies each merge at one place only": _each_merge_once,
            "goes from right to left": _from_the_right,
            "numbers new tokens from 0": _counts_from_zero,
            "joins the pair most frequent in this text first": _most_frequent_first,
            "writes the ids as a string and replaces in it": _replaces_in_a_string,
        },
    ),
)
