"""Best-of-n, rejection sampling, pass@k: each against all subsets counted one by one."""

import math
from fractions import Fraction
from itertools import combinations

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import best_of_n, best_of_n_curve, best_of_n_kl, pass_at_k, rejection_sample


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_curve(rewards, gold):
    """For each n every subset: who is best in it (all who tie, evenly), and what that one is worth."""
    num = len(rewards)
    means = []
    for n in range(1, num + 1):
        values = []
        for subset in combinations(range(num), n):
            most = max(rewards[i] for i in subset)
            winners = [gold[i] for i in subset if rewards[i] == most]
            values.append(sum(winners) / len(winners))
        means.append(sum(values) / len(values))
    return means


def test_best_of_n_is_the_highest_in_each_row():
    rewards = drawn(20, 7)
    assert rewards.gather(1, best_of_n(rewards)[:, None])[:, 0].tolist() == [max(row) for row in rewards.tolist()]
    assert best_of_n(torch.zeros(3, 4)).tolist() == [0, 0, 0]  # the first of equal ones


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_is_the_mean_over_all_subsets(ties):
    rewards, gold = drawn(5, 8), drawn(5, 8, seed=1)
    if ties:
        rewards = rewards.round()
        assert any(len(set(row)) < 6 for row in rewards.tolist())
    expected = [slow_curve(r, g) for r, g in zip(rewards.tolist(), gold.tolist(), strict=True)]
    assert_close(best_of_n_curve(rewards, gold), torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=1e-11)


def test_the_curve_of_one_reward_by_itself():
    rewards = drawn(6, 10)
    curve = best_of_n_curve(rewards)
    assert_close(curve[:, 0], rewards.mean(1))
    assert_close(curve[:, -1], rewards.amax(1))
    assert (curve.diff(dim=1) > 0).all()
    # of 1, ..., N the best of n is (N + 1) n / (n + 1) on average: the German tank problem
    tanks = torch.arange(1, 101, dtype=torch.float64)[None]
    assert_close(best_of_n_curve(tanks)[0], 101 * tanks[0] / (tanks[0] + 1))


def test_the_curve_knows_no_order_and_no_scale_of_the_proxy():
    rewards, gold = drawn(3, 9), drawn(3, 9, seed=1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    assert_close(best_of_n_curve(rewards[:, order], gold[:, order]), best_of_n_curve(rewards, gold))
    assert_close(best_of_n_curve(rewards.exp(), gold), best_of_n_curve(rewards, gold))
    assert_close(best_of_n_curve(rewards, 3 * gold + 1), 3 * best_of_n_curve(rewards, gold) + 1)


def test_the_curve_stays_exact_for_many_samples():
    rewards = torch.arange(1024, dtype=torch.float32)[None]
    curve = best_of_n_curve(rewards, torch.ones_like(rewards))  # weights of each n sum to 1
    assert_close(curve, torch.ones_like(curve), rtol=1e-8, atol=0)


def test_kl_of_best_of_n_on_many_equally_likely_outcomes():
    # V outcomes, equally likely, in order of reward: best-of-n has ((i/V)^n - ((i-1)/V)^n), exactly
    for n in (1, 2, 5, 50):
        num = 4000
        steps = torch.linspace(0, 1, num + 1, dtype=torch.float64) ** n
        kl = torch.special.xlogy(steps.diff(), steps.diff() * num).sum().item()
        assert kl == pytest.approx(best_of_n_kl(n), abs=0.02)
        assert kl <= best_of_n_kl(n) + 1e-9
    few = torch.linspace(0, 1, 5, dtype=torch.float64) ** 50  # with four outcomes the bound is far off: log 4 at most
    assert torch.special.xlogy(few.diff(), few.diff() * 4).sum().item() < math.log(4) < best_of_n_kl(50)


def test_rejection_sampling_keeps_the_best_that_are_good_enough():
    rewards = drawn(6, 5)
    expected = []
    for prompt, row in enumerate(rewards.tolist()):
        best = sorted(range(5), key=lambda i: -row[i])[:2]
        expected += [[prompt, i] for i in best if row[i] >= 0.3]
    assert rejection_sample(rewards, keep=2, at_least=0.3).tolist() == expected
    assert rejection_sample(rewards)[:, 1].tolist() == best_of_n(rewards).tolist()
    assert rejection_sample(rewards, at_least=math.inf).shape == (0, 2)


def test_a_verifiers_rewards_keep_right_answers_in_order():
    rewards = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0], [0.0] * 5, [1.0] * 5])
    assert rejection_sample(rewards, keep=2, at_least=1.0).tolist() == [[0, 1], [0, 3], [2, 0], [2, 1]]


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one():
    for right in range(7):
        for k in range(1, 7):
            hits = [any(i < right for i in subset) for subset in combinations(range(6), k)]
            expected = Fraction(sum(hits), len(hits))
            assert pass_at_k(torch.tensor(right), 6, k).item() == pytest.approx(float(expected), abs=1e-15)


def test_pass_at_k_is_unbiased_and_the_naive_one_is_not():
    p, n, k = 0.3, 10, 4
    chance = torch.tensor([math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)], dtype=torch.float64)
    counts = torch.arange(n + 1)
    truth = 1 - (1 - p) ** k
    assert (chance * pass_at_k(counts, n, k)).sum().item() == pytest.approx(truth, abs=1e-12)
    assert (chance * (1 - (1 - counts / n) ** k)).sum().item() < truth - 0.02


def test_pass_at_k_on_large_counts():
    value = pass_at_k(torch.tensor([1, 5000, 10000]), 10000, 100)
    assert_close(value[[0, 2]], torch.tensor([0.01, 1.0]).double())  # the one right one is among k of n
    assert pass_at_k(torch.tensor([[3, 0]]), 4, 1).tolist() == [[0.75, 0.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_of_n(torch.zeros(4)), r"must be \(P, N\).*got \(4,\)"),
        (lambda: best_of_n(torch.zeros(2, 0)), r"got \(2, 0\)"),
        (lambda: best_of_n(torch.tensor([[0.0, 1.0], [0.0, math.nan]])), r"prompts \[1\] are not finite"),
        (lambda: best_of_n_curve(torch.zeros(2, 3), torch.zeros(2, 2)), r"\(2, 3\) and \(2, 2\)"),
        (lambda: best_of_n_curve(torch.zeros(1, 2), torch.tensor([[0, math.inf]])), "gold of prompts"),
        (lambda: best_of_n_kl(0), "at least 1, got 0"),
        (lambda: rejection_sample(torch.zeros(2, 3), keep=4), "from 1 to the 3 samples"),
        (lambda: rejection_sample(torch.zeros(2, 3), keep=0), "got 0"),
        (lambda: pass_at_k(torch.tensor([1]), 4, 5), "draw more samples"),
        (lambda: pass_at_k(torch.tensor([1]), 4, 0), "got 0"),
        (lambda: pass_at_k(torch.tensor([0.5]), 4, 1), "as integers"),
        (lambda: pass_at_k(torch.tensor([1, 5]), 4, 1), r"in \[0, 4\], got 1 to 5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
