"""Exercises 26.3 and 26.4: the group advantage as GRPO and as Dr. GRPO take it, and pass@k without bias."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from course_lib.study.exercises import Case, Exercise


def advantages_of(rewards, divide):
    """Return the group advantage of every completion."""
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    if divide:
        spread = rewards.std(axis=1, ddof=1, keepdims=True)
        centred = centred / np.where(spread > 0, spread, 1.0)
    equal = rewards.max(axis=1, keepdims=True) == rewards.min(axis=1, keepdims=True)
    return np.where(equal, 0.0, centred)


def _advantages_oracle(rewards, divide):
    rows = []
    for group in rewards.tolist():
        mean = math.fsum(group) / len(group)
        spread = math.sqrt(math.fsum((r - mean) ** 2 for r in group) / (len(group) - 1))
        if len(set(group)) == 1:
            rows.append([0.0] * len(group))
        else:
            rows.append([(r - mean) / spread if divide else r - mean for r in group])
    return np.array(rows)


def _draw_groups(rng):
    prompts, group = int(rng.integers(1, 5)), int(rng.integers(2, 9))
    if rng.random() < 0.5:
        rewards = (rng.random((prompts, group)) < rng.random((prompts, 1))).astype(np.float64)
    else:
        rewards = rng.standard_normal((prompts, group)) * 3 + 5
    return rewards, bool(rng.random() < 0.6)


def _explain_groups(case, expected, got):
    rewards, divide = case.args
    return f"{len(rewards)} groups of {rewards.shape[1]}, divide is {divide}; the first group {rewards[0].tolist()}"


def _over_the_whole_batch(rewards, divide):
    centred = rewards - rewards.mean()
    return centred / rewards.std(ddof=1) if divide and rewards.std() > 0 else centred


def _over_prompts(rewards, divide):
    centred = rewards - rewards.mean(axis=0, keepdims=True)
    spread = rewards.std(axis=0, keepdims=True)
    return centred / np.where(spread > 0, spread, 1.0) if divide else centred


def _population_deviation(rewards, divide):
    factor = math.sqrt(rewards.shape[1] / (rewards.shape[1] - 1)) if divide else 1.0
    return advantages_of(rewards, divide) * factor


def _by_the_variance(rewards, divide):
    found = advantages_of(rewards, divide)
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    return found / np.where(spread > 0, spread, 1.0) if divide else found


def _always_divides(rewards, divide):
    return advantages_of(rewards, True)


def _never_divides(rewards, divide):
    return advantages_of(rewards, False)


def _nan_where_equal(rewards, divide):
    with np.errstate(all="ignore"):
        centred = rewards - rewards.mean(axis=1, keepdims=True)
        return centred / rewards.std(axis=1, ddof=1, keepdims=True) if divide else centred


def _no_baseline(rewards, divide):
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    return rewards / np.where(spread > 0, spread, 1.0) if divide else rewards


def _others_only(rewards, divide):
    size = rewards.shape[1]
    return advantages_of(rewards, divide) * size / (size - 1)


def pass_rate(num_right, num_samples, k):
    """Return the mean over problems of the unbiased pass@k."""
    total = math.comb(num_samples, k)
    failed = [math.comb(num_samples - c, k) / total for c in num_right.tolist()]
    return 1 - sum(failed) / len(failed)


def _pass_oracle(num_right, num_samples, k):
    found = Fraction(0)
    for count in num_right:
        all_wrong = Fraction(1)
        for drawn in range(k):  # draw k of the samples one after the other, without putting any back
            all_wrong *= Fraction(max(num_samples - int(count) - drawn, 0), num_samples - drawn)
        found += 1 - all_wrong
    return float(found / len(num_right))


def _draw_counts(rng):
    num_samples = int(rng.integers(1, 31))
    num_right = rng.integers(0, num_samples + 1, size=int(rng.integers(1, 7)))
    return num_right, num_samples, int(rng.integers(1, num_samples + 1))


def _explain_pass(case, expected, got):
    num_right, num_samples, k = case.args
    return f"{num_right.tolist()} of {num_samples} right, k = {k}"


def _with_replacement(num_right, num_samples, k):
    return float(np.mean(1 - (1 - num_right / num_samples) ** k))


def _any_at_all(num_right, num_samples, k):
    return float(np.mean(num_right > 0))


def _all_right(num_right, num_samples, k):
    return float(np.mean([math.comb(int(c), k) / math.comb(num_samples, k) for c in num_right]))


def _all_wrong(num_right, num_samples, k):
    return 1 - pass_rate(num_right, num_samples, k)


def _pools_the_problems(num_right, num_samples, k):
    return _pass_oracle([round(float(np.mean(num_right)))], num_samples, k)


def _share_times_k(num_right, num_samples, k):
    return float(np.mean(np.minimum(1.0, k * num_right / num_samples)))


def _exactly_one(num_right, num_samples, k):
    ways = [int(c) * math.comb(num_samples - int(c), k - 1) / math.comb(num_samples, k) for c in num_right]
    return float(np.mean(ways))


EXERCISES = (
    Exercise(
        id="26.3",
        title="Each other's baseline",
        difficulty=2,
        minutes=15,
        solution=advantages_of,
        cases=_draw_groups,
        oracle=_advantages_oracle,
        edge_cases=(
            Case((np.array([[0.1, 0.1, 0.1], [1.0, 0.0, 0.0]]), True), note="one group with equal rewards"),
            Case((np.array([[0.1, 0.1, 0.1]]), False), note="equal rewards, without division"),
            Case((np.array([[2.0, 2.0, 2.0, 3.0], [0.0, 0.0, 5.0, 5.0]]), True), note="groups of different spread"),
        ),
        explain=_explain_groups,
        hints=(
            "Means and deviations go along axis 1, with `keepdims=True`; the deviation has `ddof=1`.",
            "Where the deviation is 0, dividing gives nan: such a group has advantage 0.",
            "Decide `equal` by the largest and the smallest reward: the mean of equal numbers may be off by rounding.",
        ),
        wrong={
            "compares with the whole batch": _over_the_whole_batch,
            "compares across prompts": _over_prompts,
            "takes the population's deviation": _population_deviation,
            "divides by the variance": _by_the_variance,
            "always divides": _always_divides,
            "never divides": _never_divides,
            "gives nan where all are equal": _nan_where_equal,
            "takes no mean off": _no_baseline,
            "leaves each one out of its own mean": _others_only,
        },
    ),
    Exercise(
        id="26.4",
        title="At least one of k",
        difficulty=3,
        minutes=15,
        solution=pass_rate,
        cases=_draw_counts,
        oracle=_pass_oracle,
        edge_cases=(
            Case((np.array([0, 1, 200]), 200, 100), note="none, one, all of 200"),
            Case((np.array([3]), 4, 2), note="more right than wrong"),
            Case((np.array([5, 0]), 2000, 900), note="two thousand samples"),
        ),
        explain=_explain_pass,
        hints=(
            "Of all ways to pick k of the n samples: which share is wholly wrong?",
            "comb(n - c, k) / comb(n, k). `math.comb` is 0 where k is more than n - c, and exact.",
            "Two whole numbers of any size divide exactly enough: do not turn them into floats first.",
        ),
        wrong={
            "draws with replacement": _with_replacement,
            "asks for any right at all": _any_at_all,
            "asks for all k right": _all_right,
            "returns the share that fails": _all_wrong,
            "averages the counts first": _pools_the_problems,
            "adds chances up": _share_times_k,
            "asks for exactly one": _exactly_one,
        },
    ),
)
