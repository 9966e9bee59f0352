"""Bandits: rewards as the arms say, regret counted by hand, strategies by their definitions and by what is known."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from course_lib.rl import Bandit, epsilon_greedy, play_bandit, thompson_bernoulli, thompson_gaussian, ucb1


@pytest.fixture
def g():
    return torch.Generator().manual_seed(0)


def test_rewards_have_the_arms_means(g):
    arms = torch.arange(3).repeat(20_000)
    coins = Bandit(torch.tensor([0.1, 0.5, 0.9])).pull(arms, g).view(-1, 3)
    assert set(coins.unique().tolist()) == {0.0, 1.0}
    assert ((coins.mean(0) - torch.tensor([0.1, 0.5, 0.9])).abs() < 4 * 0.5 / 20_000**0.5).all()
    bells = Bandit(torch.tensor([-1.0, 0.0, 3.0]), kind="gaussian", std=2.0).pull(arms, g).view(-1, 3)
    assert ((bells.mean(0) - torch.tensor([-1.0, 0.0, 3.0])).abs() < 4 * 2 / 20_000**0.5).all()
    assert_close(bells.std(0), torch.full((3,), 2.0).double(), rtol=0, atol=4 * 2 / 40_000**0.5)


def test_regret_by_hand(g):
    """Arms in turn, of means 0.2, 0.9, 0.5: it grows by 0.7, 0, 0.4 again and again, whatever luck brings."""

    def in_turn(counts, sums, generator):
        return counts.sum(1).long() % 3

    plays = play_bandit(Bandit(torch.tensor([0.2, 0.9, 0.5]).double()), in_turn, num_pulls=6, num_runs=2, generator=g)
    assert plays.arms.tolist() == [[0, 1, 2, 0, 1, 2]] * 2
    assert_close(plays.regret, torch.tensor([[0.7, 0.7, 1.1, 1.8, 1.8, 2.2]] * 2).double(), rtol=0, atol=1e-6)


def test_strategies_see_counts_and_sums_of_their_own_run(g):
    seen = []

    def watch(counts, sums, generator):
        seen.append((counts.clone(), sums.clone()))
        return torch.tensor([0, 1])

    plays = play_bandit(Bandit(torch.tensor([0.5, 0.5])), watch, num_pulls=5, num_runs=2, generator=g)
    counts, sums = seen[-1]
    assert counts.tolist() == [[4, 0], [0, 4]]
    assert sums.tolist() == [[plays.rewards[0, :4].sum(), 0], [0, plays.rewards[1, :4].sum()]]


@pytest.mark.parametrize("strategy", [epsilon_greedy(0.0), ucb1()])
def test_every_arm_is_tried_first(strategy, g):
    plays = play_bandit(Bandit(torch.tensor([0.1, 0.5, 0.6, 0.9])), strategy, num_pulls=4, num_runs=50, generator=g)
    assert plays.arms.sort(1).values.eq(torch.arange(4)).all()


def test_epsilon_is_the_share_of_random_pulls(g):
    counts, sums = torch.full((40_000, 4), 10.0), torch.tensor([1.0, 2.0, 9.0, 3.0]).expand(40_000, 4)
    best = epsilon_greedy(0.2)(counts, sums, g).eq(2).double().mean()
    assert abs(best - (0.8 + 0.2 / 4)) < 4 * math.sqrt(0.85 * 0.15 / 40_000)


def test_ties_are_broken_evenly(g):
    counts, sums = torch.full((30_000, 3), 10.0), torch.tensor([5.0, 5.0, 1.0]).expand(30_000, 3)
    chosen = torch.bincount(epsilon_greedy(0.0)(counts, sums, g), minlength=3) / 30_000
    assert chosen[2] == 0
    assert abs(chosen[0] - 0.5) < 4 * 0.5 / 30_000**0.5


def test_ucb_is_the_formula_read_aloud(g):
    counts = torch.tensor([[5.0, 10.0, 85.0], [40.0, 30.0, 30.0]])
    sums = torch.tensor([[2.0, 6.0, 50.0], [20.0, 16.0, 15.5]])
    for exploration in (0.5, 2.0, 8.0):
        scores = [
            [s / c + math.sqrt(exploration * math.log(100) / c) for c, s in zip(cs, ss, strict=True)]
            for cs, ss in zip(counts.tolist(), sums.tolist(), strict=True)
        ]
        expected = [row.index(max(row)) for row in scores]
        assert ucb1(exploration)(counts, sums, g).tolist() == expected


def test_thompson_pulls_as_often_as_an_arm_is_believed_best(g):
    """Beta(2, 1) against Beta(1, 1): the first is larger with probability 2/3: it is the larger of two even draws."""
    counts, sums = torch.tensor([[1.0, 0.0]]).expand(40_000, 2), torch.tensor([[1.0, 0.0]]).expand(40_000, 2)
    first = thompson_bernoulli()(counts, sums, g).eq(0).double().mean()
    assert abs(first - 2 / 3) < 4 * math.sqrt(2 / 9 / 40_000)


def test_thompson_draws_from_the_beta_posterior(g):
    """Beta(4, 2) against an arm that is known to give 1/2: P(draw > 1/2) = 26/32, a binomial's tail."""
    counts, sums = torch.tensor([[4.0, 1e12]]).expand(40_000, 2), torch.tensor([[3.0, 5e11]]).expand(40_000, 2)
    first = thompson_bernoulli()(counts.double(), sums.double(), g).eq(0).double().mean()
    assert abs(first - 26 / 32) < 4 * math.sqrt(26 / 32 * 6 / 32 / 40_000)


@pytest.mark.parametrize("strategy", [epsilon_greedy(0.5), ucb1(), thompson_bernoulli(), thompson_gaussian()])
def test_only_the_generator_decides(strategy, g):
    bandit, state = Bandit(torch.tensor([0.4, 0.5, 0.6])), g.get_state()
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    one = play_bandit(bandit, strategy, num_pulls=30, num_runs=5, generator=g)
    g.set_state(state)
    again = play_bandit(bandit, strategy, num_pulls=30, num_runs=5, generator=g)
    assert torch.equal(one.arms, again.arms)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpys).all()


def test_gaussian_thompson_has_the_posterior(g):
    """One arm: prior N(0, 4), 3 rewards of sum 6, noise variance 1. Posterior precision 3.25, mean 6 / 3.25."""
    counts, sums = torch.tensor([[3.0, 1e12]]).expand(40_000, 2), torch.tensor([[6.0, 1.5e12]]).expand(40_000, 2)
    better = thompson_gaussian(std=1.0, prior_std=2.0)(counts.double(), sums.double(), g).eq(0).double().mean()
    z = (6 / 3.25 - 1.5) * math.sqrt(3.25)  # against an arm known to be worth 1.5
    expected = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    assert abs(better - expected) < 4 * math.sqrt(expected * (1 - expected) / 40_000)


def test_who_explores_wisely_loses_less(g):
    """After 1,000 pulls UCB and Thompson lose less than half of what always exploring does; UCB keeps its theorem."""
    means = torch.tensor([0.3, 0.7])
    regret = {}
    for name, strategy in {"random": epsilon_greedy(1.0), "ucb": ucb1(), "thompson": thompson_bernoulli()}.items():
        plays = play_bandit(Bandit(means), strategy, num_pulls=1000, num_runs=50, generator=g)
        regret[name] = plays.regret[:, -1].mean().item()
    assert regret["random"] == pytest.approx(200, rel=0.05)  # half of the pulls lose 0.4
    assert regret["thompson"] < regret["ucb"] < 100
    assert regret["ucb"] <= 8 * math.log(1000) / 0.4 + (1 + math.pi**2 / 3) * 0.4  # Auer et al., theorem 1


def test_bad_input_is_named(g):
    for means, options, message in (
        ([0.5], {}, r"two or more arms, got shape \(1,\)"),
        ([0.5, 1.5], {}, "probabilities from 0 to 1"),
        ([0.5, 0.6], {"kind": "uniform"}, "kind must be one of"),
        ([0.5, 0.6], {"std": 0.0}, "std must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Bandit(torch.tensor(means), **options)
    with pytest.raises(ValueError, match="got 0 and 1"):
        play_bandit(Bandit(torch.tensor([0.5, 0.6])), ucb1(), num_pulls=0, generator=g)
    with pytest.raises(ValueError, match="takes rewards of 0 or 1: use thompson_gaussian"):
        thompson_bernoulli()(torch.ones(1, 2), torch.tensor([[0.5, -0.5]]), g)
    with pytest.raises(ValueError, match=r"epsilon must lie in \[0, 1\], got 2"):
        epsilon_greedy(2)
    for make, name in (
        (lambda: ucb1(0.0), "exploration"),
        (lambda: thompson_bernoulli(0.0), "successes"),
        (lambda: thompson_bernoulli(1.0, -1.0), "failures"),
        (lambda: thompson_gaussian(0.0), "std"),
        (lambda: thompson_gaussian(1.0, math.nan), "prior_std"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
            make()
