"""N-gram models: equal to the formulas read aloud, proper, right by thought alone, and clear about mistakes."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from course_lib.ngrams import AddOne, KneserNey, count_ngrams

V, SEPARATOR, START = 7, 0, "start"


def zipfian(num, seed, *, vocab_size=V):
    """A text in which few tokens are frequent and the next depends on the last."""
    rng, ids = np.random.default_rng(seed), [1]
    weights = 1 / np.arange(1, vocab_size + 1)
    for _ in range(num - 1):
        ids.append(int(rng.choice(vocab_size, p=np.roll(weights, ids[-1] % 3) / weights.sum())))
    return ids


def with_contexts(tokens, order, separator):
    """Each token with the order - 1 tokens before it; start marks where the document has none."""
    found, past = [], [START] * (order - 1)
    for token in tokens:
        found.append((tuple(past[len(past) - order + 1 :]), token))
        past = [START] * (order - 1) if token == separator else [*past, token]
    return found


class Oracle:
    """Interpolated Kneser-Ney, with dictionaries and recursion, as Chen and Goodman write it."""

    def __init__(self, tokens, order, separator, smoothing):
        counts = Counter((*context, token) for context, token in with_contexts(tokens, order, separator))
        self.c = {order: counts}
        for n in range(order - 1, 0, -1):
            before = defaultdict(set)
            for gram in self.c[n + 1]:
                before[gram[1:]].add(gram[0])
            self.c[n] = {gram: len(different) for gram, different in before.items()}
        self.d = {n: self.discounts(counts, smoothing) for n, counts in self.c.items()}

    @staticmethod
    def discounts(counts, smoothing):
        n1, n2, n3, n4 = (sum(c == size for c in counts.values()) for size in (1, 2, 3, 4))
        if smoothing == "single":
            return [n1 / (n1 + 2 * n2) if n1 and n2 else 0.5] * 3
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            estimates = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            if all(d > 0 for d in estimates):
                return estimates
        return [0.5, 1.0, 1.5]

    def p(self, context, token):
        n = len(context) + 1
        shorter = self.p(context[1:], token) if context else 1 / V
        followers = {gram[-1]: c for gram, c in self.c[n].items() if gram[:-1] == context}
        if not followers:
            return shorter
        total = sum(followers.values())
        discount = {w: self.d[n][min(c, 3) - 1] for w, c in followers.items()}
        own = (followers[token] - discount[token]) / total if token in followers else 0.0
        return own + sum(discount.values()) / total * shorter


@pytest.mark.parametrize("smoothing", ["modified", "single"])
@pytest.mark.parametrize("separator", [SEPARATOR, None])
@pytest.mark.parametrize(("order", "num"), [(1, 60), (2, 150), (3, 400), (4, 400), (5, 30)])
def test_kneser_ney_equals_the_formulas(order, num, separator, smoothing):
    text, other = zipfian(num, seed=order), zipfian(80, seed=99)
    model = KneserNey(text, order=order, vocab_size=V, separator=separator, smoothing=smoothing)
    oracle = Oracle(text, order, separator, smoothing)
    expected = [math.log(oracle.p(context, token)) for context, token in with_contexts(other, order, separator)]
    assert_allclose(model.log_prob(other), expected, rtol=1e-12)
    assert_allclose(model.discounts, [oracle.d[n] for n in range(1, order + 1)], rtol=1e-14)


def test_both_ways_of_discounting_are_tried_above():
    long, short = KneserNey(zipfian(400, 3), order=3, vocab_size=V), KneserNey([1, 2, 1], order=3, vocab_size=V)
    assert long.discounts[2] != (0.5, 1.0, 1.5)
    assert short.discounts[2] == (0.5, 1.0, 1.5)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", [KneserNey, AddOne])
def test_probabilities_sum_to_one_after_any_context(kind, order):
    model = kind(zipfian(300, 1, vocab_size=20), order=order, vocab_size=25, separator=SEPARATOR)
    contexts = [[], [3], [24], [24, 24, 24], [1, 24], [24, 1], [0], [2, 0], *[zipfian(n, n) for n in range(1, 30)]]
    for context in contexts:
        p = model.distribution(context)
        assert p.shape == (25,)
        assert (p > 0).all()  # 20 to 24 were never seen
        assert_allclose(p.sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("kind", [KneserNey, AddOne])
def test_the_distribution_is_what_each_token_would_get_next(kind):
    model = kind(zipfian(300, 2), order=3, vocab_size=V, separator=SEPARATOR)
    for context in ([], [4], [4, 1], [2, 5, 0], [6, 5, 0, 3]):
        each = [model.log_prob([*context, token])[-1] for token in range(V)]
        assert_array_equal(np.log(model.distribution(context)), each)


def test_add_one_equals_the_formula():
    text, other = zipfian(200, 4), zipfian(90, 5)
    for order in (1, 2, 3):
        grams = Counter((*context, token) for context, token in with_contexts(text, order, SEPARATOR))
        seen = Counter(context for context, _ in with_contexts(text, order, SEPARATOR))
        model = AddOne(text, order=order, vocab_size=V, separator=SEPARATOR, extra=0.5)
        expected = [
            math.log((grams[(*context, token)] + 0.5) / (seen[context] + 0.5 * V))
            for context, token in with_contexts(other, order, SEPARATOR)
        ]
        assert_allclose(model.log_prob(other), expected, rtol=1e-13)


def test_a_continuation_counts_what_it_followed_not_how_often():
    # 5 ("Francisco") comes nine times, always after 4 ("San"); 1 comes three times, after 2, 3 and 6.
    text = [4, 5] * 9 + [2, 1, 3, 1, 6, 1]
    p = KneserNey(text, order=2, vocab_size=V).distribution([0])  # 0 was never seen, so this is the shorter context's
    assert_allclose(p[[5, 1]], [(1 - 0.5) / 9 + 0.5 / 7, (3 - 1.5) / 9 + 0.5 / 7], rtol=1e-14)  # nine different pairs
    assert AddOne(text, order=1, vocab_size=V).distribution([])[5] > p[5]


def test_an_unseen_context_is_the_shorter_one():
    model = KneserNey([1, 2, 3, 1, 2, 4, 5, 2, 3], order=3, vocab_size=V)
    assert_array_equal(model.distribution([6, 2]), model.distribution([4, 2]))  # neither was seen: both mean [2]
    assert (model.distribution([1, 2]) != model.distribution([6, 2])).any()
    assert_allclose(AddOne([1, 2, 3], order=3, vocab_size=V).distribution([6, 2]), np.full(V, 1 / V), rtol=1e-15)


def test_one_token_for_ever():
    model = KneserNey([3] * 100, order=2, vocab_size=4)  # pairs: start 3 once, 3 3 99 times; 3 stood after two things
    lowest = (2 - 1 + 1 / 4) / 2
    assert_allclose(model.distribution([3])[3], (99 - 1.5 + 1.5 * lowest) / 99, rtol=1e-14)


def test_documents_neither_see_each_other_nor_care_for_order():
    documents = [[1, 2, 3, 0], [4, 1, 0], [0], [2, 2, 5, 6, 0]]
    joined, turned = np.concatenate(documents), np.concatenate(documents[::-1])
    for kind in (KneserNey, AddOne):
        one = kind(joined, order=3, vocab_size=V, separator=SEPARATOR)
        other = kind(turned, order=3, vocab_size=V, separator=SEPARATOR)
        apart = np.concatenate([one.log_prob(document) for document in documents])
        assert_array_equal(one.log_prob(joined), apart)
        assert_allclose(other.log_prob(joined), apart, rtol=1e-14)
    assert_array_equal(one.distribution([5, 1, 0]), one.distribution([]))


def test_names_of_tokens_do_not_matter():
    text, other, names = zipfian(300, 6), zipfian(50, 7), np.random.default_rng(0).permutation(V)
    plain = KneserNey(text, order=3, vocab_size=V, separator=0)
    renamed = KneserNey(names[text], order=3, vocab_size=V, separator=int(names[0]))
    assert_allclose(renamed.log_prob(names[other]), plain.log_prob(other), rtol=1e-13)


def test_long_contexts_and_a_large_vocabulary_do_not_overflow():
    text = np.random.default_rng(0).integers(0, 200_000, 500)
    model = KneserNey(np.tile(text, 2), order=9, vocab_size=200_000)
    log_p = model.log_prob(text)
    assert (log_p[9:] > math.log(0.2)).all()  # each context was seen twice, with one continuation
    assert model.distribution(text[:20]).argmax() == text[20]


def test_tensors_lists_and_arrays_mean_the_same():
    text = zipfian(60, 8)
    expected = KneserNey(text, order=2, vocab_size=V).log_prob(text)
    for kind in (np.array, torch.tensor, lambda ids: torch.tensor(ids, dtype=torch.int32)):
        assert_array_equal(KneserNey(kind(text), order=2, vocab_size=V).log_prob(kind(text)), expected)
    assert KneserNey(text, order=2, vocab_size=V).log_prob([]).shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"order": 0}, r"order is the n of the n-grams and must be at least 1, got 0"),
        ({"vocab_size": 0}, r"vocab_size counts the token ids and must be at least 1, got 0"),
        ({"separator": 7}, r"separator is a token id from 0 to 6, or None, got 7"),
        ({"tokens": []}, "got 0 tokens"),
        ({"tokens": [1, 7]}, "token ids must lie in 0 to 6, got 1 to 7"),
        ({"tokens": [-1, 2]}, "token ids must lie in 0 to 6, got -1 to 2"),
        ({"tokens": [0.5]}, r"one row of integer ids, got shape \(1,\) of float64"),
        ({"tokens": [[1, 2]]}, r"one row of integer ids, got shape \(1, 2\) of int64"),
    ],
)
def test_mistakes_are_named(wrong, message):
    right = {"tokens": [1, 2, 3], "order": 2, "vocab_size": V}
    for build in (count_ngrams, KneserNey, AddOne):
        with pytest.raises(ValueError, match=message):
            build(**(right | wrong))


def test_mistakes_of_one_model_alone():
    with pytest.raises(ValueError, match="smoothing must be 'modified' or 'single', got 'double'"):
        KneserNey([1], order=1, vocab_size=V, smoothing="double")
    for extra in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="extra is added to each count and must be positive"):
            AddOne([1], order=1, vocab_size=V, extra=extra)
    for model in (AddOne([1], order=2, vocab_size=V), KneserNey([1], order=2, vocab_size=V)):
        for ask in (model.log_prob, model.distribution):
            with pytest.raises(ValueError, match="token ids must lie in 0 to 6, got 9 to 9"):
                ask([9])
