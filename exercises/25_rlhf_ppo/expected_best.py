"""Exercise 25.3: best-of-n without drawing again."""

from __future__ import annotations

import itertools
import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def expected_best(rewards, gold, n):
    """Return the expected gold reward of best-of-n."""
    total = math.comb(len(rewards), n)
    return float(sum(math.comb(i, n - 1) / total * gold[each] for i, each in enumerate(np.argsort(rewards))))


def _subsets_oracle(rewards, gold, n):
    """Every subset where there are few; else how likely it is that none better was drawn."""
    if math.comb(len(rewards), n) <= 5_000:
        subsets = itertools.combinations(range(len(rewards)), n)
        return float(np.mean([gold[max(subset, key=lambda i: rewards[i])] for subset in subsets]))
    # P(best is at most the i-th) is the product of (i - j) / (N - j) over j < n
    at_most = [math.prod(max(i - j, 0) / (len(rewards) - j) for j in range(n)) for i in range(len(rewards) + 1)]
    order = sorted(range(len(rewards)), key=lambda i: rewards[i])
    return math.fsum((at_most[i + 1] - at_most[i]) * float(gold[each]) for i, each in enumerate(order))


def _draw_samples(rng):
    number = int(rng.integers(5, 13))
    gold = rng.standard_normal(number)
    return gold + rng.standard_normal(number), gold, int(rng.integers(2, number))


def _many(seed):
    rng = np.random.default_rng(seed)
    gold = rng.standard_normal(200)
    return gold + rng.standard_normal(200), gold, 100


def _explain_best(case, expected, got):
    rewards, gold, n = case.args
    worst = int(np.argmin(rewards))
    return f"the sample with the lowest reward has gold {gold[worst]:.3g}: in how many subsets of {n} is it the best?"


def _first_n(rewards, gold, n):
    return float(gold[np.argmax(rewards[:n])])


def _best_of_all(rewards, gold, n):
    return float(gold[np.argmax(rewards)])


def _the_proxy(rewards, gold, n):
    return expected_best(rewards, rewards, n)


def _by_gold(rewards, gold, n):
    return expected_best(gold, gold, n)


def _worst(rewards, gold, n):
    return expected_best(-rewards, gold, n)


def _with_replacement(rewards, gold, n):
    number = len(rewards)
    weights = [((i + 1) / number) ** n - (i / number) ** n for i in range(number)]
    return float(sum(w * gold[each] for w, each in zip(weights, np.argsort(rewards), strict=True)))


def _mean_of_top(rewards, gold, n):
    return float(gold[np.argsort(rewards)[-n:]].mean())


def _one_off(rewards, gold, n):
    total = math.comb(len(rewards), n)
    return float(sum(math.comb(i, n) / total * gold[each] for i, each in enumerate(np.argsort(rewards))))


def _not_divided(rewards, gold, n):
    return expected_best(rewards, gold, n) * math.comb(len(rewards), n)


def _chunks(rewards, gold, n):
    starts = range(0, len(rewards) - n + 1, n)
    return float(np.mean([gold[start + int(np.argmax(rewards[start : start + n]))] for start in starts]))


EXERCISES = (
    Exercise(
        id="25.3",
        title="Best-of-n without drawing again",
        difficulty=3,
        minutes=20,
        solution=expected_best,
        cases=_draw_samples,
        oracle=_subsets_oracle,
        edge_cases=(
            Case((np.array([0.0, 3.0, 6.0]), np.array([1.0, 1.0, -2.0]), 2), note="pairs: 1, -2 and -2"),
            Case((np.array([2.0, 1.0, 3.0]), np.array([4.0, 5.0, 9.0]), 1), note="n = 1: the mean"),
            Case((np.array([2.0, 1.0, 3.0]), np.array([4.0, 5.0, -9.0]), 3), note="n = N: the best by reward"),
            Case(_many(25), note="200 samples, n = 100"),
        ),
        tolerance={"float64": (1e-8, 1e-8)},
        explain=_explain_best,
        hints=(
            "Put the samples in order of reward: `np.argsort(rewards)`.",
            "Sample number i, from 0, is the best of a subset if the other n - 1 come from the i below it.",
            "`math.comb(i, n - 1) / math.comb(N, n)` is its weight; Python divides large integers exactly enough.",
        ),
        wrong={
            "looks at the first n": _first_n,
            "takes the best of all": _best_of_all,
            "returns the reward that was chosen by": _the_proxy,
            "chooses by gold": _by_gold,
            "takes the worst": _worst,
            "draws with replacement": _with_replacement,
            "averages the n best": _mean_of_top,
            "chooses n from those below": _one_off,
            "forgets to divide": _not_divided,
            "cuts the samples into groups of n": _chunks,
        },
    ),
)
