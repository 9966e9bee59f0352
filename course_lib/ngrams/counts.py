"""Counting what followed what: contexts and n-grams of every length as sorted arrays of packed integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# A context is numbered from its newest token to its oldest: the context (u, v) before w is a child of the context (v).
# Its key is `number of its parent * (V + 1) + older token`, its number the place of that key among the sorted keys.
# The (V + 1)-th token, with id V, stands for "before the document began". An n-gram's key is `context * V + token`.

Ids = Sequence[int] | NDArray[Any] | Tensor
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NgramCounts:
    """How often each token followed each context, one level for each length of context from 0 to ``order - 1``.

    At the highest level these are plain counts. Below, they are *continuation counts*: not how often a token followed
    a context, but how many different tokens stood before the two.

    Args:
        order: The n of the n-grams.
        vocab_size: How many token ids there are.
        separator: The id that ends a document, if there is one.
        context_keys: For each level, the sorted keys of its contexts; see the comment at the top of the file.
        gram_keys: For each level, the sorted keys of its n-grams.
        gram_counts: For each level, the count of each of its n-grams.
    """

    order: int
    vocab_size: int
    separator: int | None
    context_keys: tuple[Integers, ...]
    gram_keys: tuple[Integers, ...]
    gram_counts: tuple[Integers, ...]

    def contexts_of(self, tokens: Integers) -> list[Integers]:
        """Return for each level the number of the context before each token, -1 where it was never seen.

        Shape:
            - tokens: ``(N,)``
            - output: ``order`` arrays ``(N,)``
        """
        older = previous_tokens(tokens, self.order - 1, start=self.vocab_size, separator=self.separator)
        levels = [np.zeros(len(tokens), np.int64)]
        for keys, token in zip(self.context_keys[1:], older, strict=True):
            parent = levels[-1]
            levels.append(np.where(parent < 0, -1, place_of(parent * (self.vocab_size + 1) + token, keys)))
        return levels

    def of_grams(self, level: int, contexts: Integers, tokens: Integers) -> Integers:
        """Return the count of each token after each context of that level; 0 for what was never seen.

        Shape:
            - contexts, tokens, output: ``(N,)``; contexts as ``contexts_of`` gives them
        """
        place = place_of(contexts * self.vocab_size + tokens, self.gram_keys[level])
        return np.where((place < 0) | (contexts < 0), 0, self.gram_counts[level][place])

    def sum_over_contexts(self, level: int, values: NDArray[Any]) -> NDArray[Any]:
        """Add up one value for each n-gram of a level, for each of its contexts.

        Shape:
            - values: ``(n-grams,)``
            - output: ``(contexts,)``
        """
        contexts = self.gram_keys[level] // self.vocab_size
        return np.bincount(contexts, weights=values, minlength=len(self.context_keys[level]))


def count_ngrams(tokens: Ids, *, order: int, vocab_size: int, separator: int | None = None) -> NgramCounts:
    """Count the n-grams of a stream of tokens, and the continuations of all shorter ones.

    No n-gram reaches over the end of a document. Before a document's first token stand as many start marks as the
    context needs; they are never predicted, the separator is.

    Args:
        tokens: All documents one after another, each followed by ``separator``.
        order: The n of the n-grams: 1 for single tokens, 3 for trigrams.
        vocab_size: How many token ids there are.
        separator: The id that ends a document; None takes the stream as one document.

    Shape:
        - tokens: ``(N,)``, integers from 0 to ``vocab_size - 1``

    Returns:
        The counts; a few seconds for a few million tokens.

    Raises:
        ValueError: If there are no tokens, an id is out of range, or ``order`` is below 1.

    Example:
        >>> counts = count_ngrams([0, 1, 0, 1, 1], order=2, vocab_size=2)
        >>> counts.gram_counts[1].tolist()  # 0 at the start once, 0 1 twice, 1 0 once, 1 1 once
        [2, 1, 1, 1]
        >>> counts.gram_counts[0].tolist()  # 0 stood after two different things, 1 as well
        [2, 2]
    """
    if order < 1:
        raise ValueError(f"order is the n of the n-grams and must be at least 1, got {order}.")
    if vocab_size < 1:
        raise ValueError(f"vocab_size counts the token ids and must be at least 1, got {vocab_size}.")
    if separator is not None and not 0 <= separator < vocab_size:
        raise ValueError(f"separator is a token id from 0 to {vocab_size - 1}, or None, got {separator}.")
    ids = as_ids(tokens, vocab_size)
    if len(ids) == 0:
        raise ValueError("n-grams are counted in a text, got 0 tokens.")
    keys_by_level, context = [np.zeros(1, np.int64)], np.zeros(len(ids), np.int64)
    for older in previous_tokens(ids, order - 1, start=vocab_size, separator=separator):
        keys, context = np.unique(context * (vocab_size + 1) + older, return_inverse=True)
        keys_by_level.append(keys)
    gram_keys, gram_counts = np.unique(context * vocab_size + ids, return_counts=True)
    levels = [(gram_keys, gram_counts)]
    for keys in reversed(keys_by_level[1:]):  # each n-gram without its oldest token, once for each different n-gram
        longer, token = np.divmod(levels[0][0], vocab_size)
        shorter = keys[longer] // (vocab_size + 1)
        levels.insert(0, np.unique(shorter * vocab_size + token, return_counts=True))
    grams, counts = zip(*levels, strict=True)
    return NgramCounts(order, vocab_size, separator, tuple(keys_by_level), grams, counts)


def as_ids(tokens: Ids, vocab_size: int) -> Integers:
    """Return a flat array of ids.

    Raises:
        ValueError: If they are not one row of whole numbers from 0 to ``vocab_size - 1``.
    """
    ids = np.asarray(tokens.cpu() if isinstance(tokens, Tensor) else tokens)
    if ids.size == 0 and ids.ndim == 1:
        return np.zeros(0, np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(f"tokens must be one row of integer ids, got shape {ids.shape} of {ids.dtype}.")
    if not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(f"token ids must lie in 0 to {vocab_size - 1}, got {ids.min()} to {ids.max()}.")
    return ids.astype(np.int64)


def previous_tokens(tokens: Integers, num: int, *, start: int, separator: int | None) -> list[Integers]:
    """Return the token 1 place before each, 2 places before, ... ``num`` places; ``start`` before its document.

    Example:
        >>> [row.tolist() for row in previous_tokens(np.array([3, 4, 0, 5]), 2, start=9, separator=0)]
        [[9, 3, 4, 9], [9, 9, 3, 9]]
    """
    place = np.arange(len(tokens))
    begins = np.zeros(len(tokens), np.int64)  # where the document of each token begins
    if separator is not None:
        begins[1:] = np.maximum.accumulate(np.where(tokens[:-1] == separator, place[1:], 0))
    return [np.where(place - k >= begins, tokens[np.maximum(place - k, 0)], start) for k in range(1, num + 1)]


def place_of(wanted: Integers, keys: Integers) -> Integers:
    """Return the place of each wanted key among sorted ``keys``, -1 for those that are not there."""
    place = np.searchsorted(keys, wanted)
    place[place == len(keys)] = 0
    return np.where(keys[place] == wanted, place, -1)
