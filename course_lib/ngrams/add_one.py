"""Add-one smoothing: the simplest n-gram model that gives no token probability zero."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .counts import Ids, as_ids, count_ngrams


class AddOne:
    """An n-gram model that pretends to have seen every n-gram ``extra`` times more than it has.

    ``p(w | context) = (c(context, w) + extra) / (c(context) + extra * V)``. Simple, proper and poor: with a large
    vocabulary nearly all the probability of a rare context goes to n-grams that were never seen.

    Args:
        tokens: The training text: all documents one after another, each followed by ``separator``.
        order: The n of the n-grams.
        vocab_size: How many token ids there are.
        separator: The id that ends a document; None takes the stream as one document.
        extra: What is added to each count.

    Shape:
        - tokens: ``(N,)``, integers from 0 to ``vocab_size - 1``

    Raises:
        ValueError: If there are no tokens, an id is out of range, ``order`` is below 1, or ``extra`` is not positive.

    Example:
        >>> model = AddOne([0, 1, 0, 1, 1], order=2, vocab_size=2)
        >>> model.distribution([0])  # 0 was followed by 1, twice: (0 + 1) / (2 + 2) and (2 + 1) / (2 + 2)
        array([0.25, 0.75])

    Reference: Chen and Goodman 1999, An empirical study of smoothing techniques for language modeling, section 2.1
    """

    def __init__(
        self, tokens: Ids, *, order: int, vocab_size: int, separator: int | None = None, extra: float = 1.0
    ) -> None:
        if not (math.isfinite(extra) and extra > 0):
            raise ValueError(f"extra is added to each count and must be positive and finite, got {extra!r}.")
        self.counts = count_ngrams(tokens, order=order, vocab_size=vocab_size, separator=separator)
        self.extra = extra
        self._totals = self.counts.sum_over_contexts(order - 1, self.counts.gram_counts[-1])

    def log_prob(self, tokens: Ids) -> NDArray[np.float64]:
        """Return the natural logarithm of the probability of each token, given those before it in its document.

        Shape:
            - tokens: ``(N,)``, documents each followed by the separator
            - output: ``(N,)``

        Raises:
            ValueError: If an id is out of range.
        """
        ids = as_ids(tokens, self.counts.vocab_size)
        context = self.counts.contexts_of(ids)[-1]
        count = self.counts.of_grams(self.counts.order - 1, context, ids)
        total = np.where(context < 0, 0.0, self._totals[context])
        return np.log((count + self.extra) / (total + self.extra * self.counts.vocab_size))

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
        last = self.counts.contexts_of(extended)[-1][-1:]
        every = np.arange(self.counts.vocab_size)
        count = self.counts.of_grams(self.counts.order - 1, np.repeat(last, len(every)), every)
        total = 0.0 if last[0] < 0 else self._totals[last[0]]
        return np.asarray((count + self.extra) / (total + self.extra * self.counts.vocab_size))
