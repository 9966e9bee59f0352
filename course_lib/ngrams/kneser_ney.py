"""Interpolated Kneser-Ney smoothing: the strongest of the classical n-gram models."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .counts import Ids, Integers, as_ids, count_ngrams

Smoothing = Literal["modified", "single"]


class KneserNey:
    """An n-gram model that takes a little off every count and spends it on shorter contexts.

    With the counts ``c`` of one level, and ``D(c)`` the discount for a count of that size,

        p(w | u, v) = (c(u, v, w) - D(c(u, v, w))) / c(u, v, .) + mass(u, v) * p(w | v)

    where ``mass(u, v)`` is what the discounts took off in that context, divided by ``c(u, v, .)``. Plain counts are
    used only for the longest contexts. For ``p(w | v)`` counts how many different ``u`` stood before ``v w``: a word
    like "Francisco" may be frequent, but it follows "San" alone, so it is no likely word after an unseen context.
    Below single tokens comes the uniform distribution, so nothing has probability 0. A context that was never seen
    has nothing to say and leaves the matter to the shorter one.

    The discounts are estimated for each level from the numbers ``n1 .. n4`` of n-grams with count 1 .. 4:
    ``Y = n1 / (n1 + 2 n2)``; single: ``D = Y``; modified: ``1 - 2 Y n2/n1``, ``2 - 3 Y n3/n2`` and ``3 - 4 Y n4/n3``
    for counts of 1, 2, and 3 or more. A level for which these do not exist or are not positive (a few tokens, or no
    token that is rare) gets 0.5, 1 and 1.5, or 0.5 with a single one; ``discounts`` says what each level got.

    Args:
        tokens: The training text: all documents one after another, each followed by ``separator``.
        order: The n of the n-grams: 3 for trigrams.
        vocab_size: How many token ids there are.
        separator: The id that ends a document; None takes the stream as one document.
        smoothing: ``"modified"`` for three discounts a level (Chen and Goodman), ``"single"`` for one (Kneser and Ney).

    Shape:
        - tokens: ``(N,)``, integers from 0 to ``vocab_size - 1``

    Attributes:
        counts: The ``NgramCounts``.
        discounts: For each level, from no context to the longest, the discounts for counts of 1, 2, and 3 or more.

    Raises:
        ValueError: If there are no tokens, an id is out of range, ``order`` is below 1, or there is no such smoothing.

    Example:
        >>> model = KneserNey([0, 1, 2, 0, 1, 1, 2, 0], order=2, vocab_size=4)
        >>> model.distribution([0]).round(3)  # mostly 1, which followed 0 twice; 3 was never seen
        array([0.162, 0.662, 0.112, 0.062])

    Reference: Kneser and Ney 1995, Improved backing-off for m-gram language modeling; Chen and Goodman 1999, An
    empirical study of smoothing techniques for language modeling, section 3
    """

    def __init__(
        self,
        tokens: Ids,
        *,
        order: int,
        vocab_size: int,
        separator: int | None = None,
        smoothing: Smoothing = "modified",
    ) -> None:
        if smoothing not in ("modified", "single"):
            raise ValueError(f"smoothing must be 'modified' or 'single', got {smoothing!r}.")
        self.counts = count_ngrams(tokens, order=order, vocab_size=vocab_size, separator=separator)
        self.discounts = tuple(_discounts(counts, smoothing) for counts in self.counts.gram_counts)
        self._totals, self._masses = [], []
        for level, (counts, discounts) in enumerate(zip(self.counts.gram_counts, self.discounts, strict=True)):
            total = self.counts.sum_over_contexts(level, counts)
            taken = self.counts.sum_over_contexts(level, _discount_of(counts, discounts))
            self._totals.append(total)
            self._masses.append(taken / total)

    def log_prob(self, tokens: Ids) -> NDArray[np.float64]:
        """Return the natural logarithm of the probability of each token, given those before it in its document.

        Shape:
            - tokens: ``(N,)``, documents each followed by the separator
            - output: ``(N,)``

        Raises:
            ValueError: If an id is out of range.
        """
        ids = as_ids(tokens, self.counts.vocab_size)
        return np.log(self._probability(self.counts.contexts_of(ids), ids))

    def distribution(self, context: Ids) -> NDArray[np.float64]:
        """Return the probability of each token after ``context``, the beginning of a document; ``[]`` is its start.

        Shape:
            - context: ``(n,)``; only the last ``order - 1`` tokens matter
            - output: ``(V,)``, adding up to 1

        Raises:
            ValueError: If an id is out of range.
        """
        ids = as_ids(context, self.counts.vocab_size)
        extended = np.append(ids, 0)  # any token: what is asked for is the context before it
        every = np.arange(self.counts.vocab_size)
        last = [np.repeat(level[-1], len(every)) for level in self.counts.contexts_of(extended)]
        return self._probability(last, every)

    def _probability(self, contexts: list[Integers], tokens: Integers) -> NDArray[np.float64]:
        probability = np.full(len(tokens), 1 / self.counts.vocab_size)
        for level, context in enumerate(contexts):
            count = self.counts.of_grams(level, context, tokens)
            seen = (count - _discount_of(count, self.discounts[level])) / self._totals[level][context]
            mixed = seen + self._masses[level][context] * probability
            probability = np.where(context < 0, probability, mixed)
        return probability


def _discounts(counts: Integers, smoothing: Smoothing) -> tuple[float, float, float]:
    n1, n2, n3, n4 = (int((counts == size).sum()) for size in (1, 2, 3, 4))
    if smoothing == "single":
        single = n1 / (n1 + 2 * n2) if n1 and n2 else 0.5
        return single, single, single
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        if min(found) > 0:
            return found
    return 0.5, 1.0, 1.5


def _discount_of(counts: Integers, discounts: tuple[float, float, float]) -> NDArray[np.float64]:
    return np.array((0.0, *discounts))[np.minimum(counts, 3)]
