"""Rewards and advantages of tokens: a case by hand, the formulas read aloud, empty rows, bad scores, messages."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import token_advantages, token_rewards, whiten
from course_lib.alignment.rewards.model import NonFiniteReward
from course_lib.rl import gae

MASK = torch.tensor([[0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]).bool()


@pytest.fixture
def columns():
    g = torch.Generator().manual_seed(0)
    return [torch.randn(4, 5, generator=g, dtype=torch.float64) for _ in range(3)]


def test_rewards_by_hand():
    log_probs = torch.tensor([[9.0, -1.0, -2.0, -1.0, 9.0]])
    reference = torch.tensor([[7.0, -1.5, -1.0, -1.0, 7.0]])  # k1: 0.5, -1, 0
    rewards = token_rewards(torch.tensor([4.0]), log_probs, reference, MASK[:1], kl_coefficient=0.2)
    assert_close(rewards, torch.tensor([[0.0, -0.1, 0.2, 4.0, 0.0]]))


def test_rewards_sum_to_score_less_kl(columns):
    log_probs, reference, _ = columns
    scores = torch.tensor([1.0, -2.0, 5.0, 0.5]).double()
    rewards = token_rewards(scores, log_probs, reference, MASK, kl_coefficient=0.3)
    for row in range(4):
        kl = sum((log_probs[row, t] - reference[row, t]).item() for t in range(5) if MASK[row, t])
        expected = scores[row].item() - 0.3 * kl if MASK[row].any() else 0.0
        assert rewards[row].sum().item() == pytest.approx(expected, abs=1e-14)
    assert rewards[~MASK].eq(0).all()
    free = token_rewards(scores, log_probs, reference, MASK, kl_coefficient=0.0)
    assert free[0].tolist() == [0, 0, 0, 1, 0]
    assert free[3].tolist() == [0, 0, 0, 0, 0.5]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_are_gae_along_each_row(columns, gamma, lam):
    rewards, values, _ = columns
    found = token_advantages(rewards, values, MASK, gamma=gamma, lam=lam)
    for row in range(4):
        places = [t for t in range(5) if MASK[row, t]]
        for first, t in enumerate(places):
            expected = 0.0
            for k, i in enumerate(places[first:]):
                follows = values[row, i + 1].item() if i != places[-1] else 0.0
                expected += (gamma * lam) ** k * (rewards[row, i].item() + gamma * follows - values[row, i].item())
            assert found[row, t].item() == pytest.approx(expected, abs=1e-13)
    assert found[~MASK].eq(0).all()


def test_advantages_of_one_row_are_those_of_rl(columns):
    rewards, values, _ = (column[:1].T.contiguous() for column in columns)  # (T, 1)
    ends = torch.tensor([0, 0, 0, 0, 1]).bool()[:, None]
    following = torch.cat([values[1:], torch.zeros(1, 1)])
    expected = gae(rewards, values, following, ends, torch.zeros_like(ends), gamma=0.9, lam=0.8)
    found = token_advantages(rewards.T, values.T, torch.ones(1, 5).bool(), gamma=0.9, lam=0.8)
    assert_close(found.T, expected, rtol=0, atol=1e-14)


def test_what_stands_outside_does_not_matter(columns):
    rewards, values, _ = columns
    other = [column.masked_fill(~MASK, math.nan) for column in (rewards, values)]
    assert_close(token_advantages(*other, MASK), token_advantages(rewards, values, MASK), rtol=0, atol=0)
    assert_close(whiten(other[0], MASK), whiten(rewards, MASK), rtol=0, atol=0)
    scores = torch.ones(4).double()
    assert_close(
        token_rewards(scores, *other, MASK, kl_coefficient=1.0),
        token_rewards(scores, rewards, values, MASK, kl_coefficient=1.0),
        rtol=0,
        atol=0,
    )


def test_a_perfect_critic_leaves_nothing():
    values = torch.full((4, 5), 3.0).double() * MASK
    rewards = token_rewards(torch.full((4,), 3.0).double(), values, values, MASK, kl_coefficient=1.0)
    assert token_advantages(rewards, values, MASK, gamma=1.0, lam=0.7).abs().max() == 0


def test_whitening(columns):
    values = columns[0]
    whitened = whiten(values, MASK)
    real = values[MASK]
    expected = (real - real.mean()) / (real.square().mean() - real.mean() ** 2).sqrt()
    assert_close(whitened[MASK], expected, rtol=0, atol=1e-7)  # 1e-8 is added to the deviation
    assert whitened[~MASK].eq(0).all()
    assert_close(whiten(3 * values + 5, MASK), whitened, rtol=0, atol=1e-7)
    assert whiten(torch.full((4, 5), 0.1), MASK).eq(0).all()  # equal ones: 0, not rounding blown up
    single = torch.zeros(1, 3).bool().index_fill(1, torch.tensor([1]), True)
    assert whiten(torch.tensor([[9.0, 2.0, 9.0]]), single).tolist() == [[0.0, 2.0, 0.0]]
    assert whiten(values, torch.zeros(4, 5).bool()).eq(0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_name_their_rows(bad):
    scores = torch.tensor([1.0, bad, 2.0, bad])
    with pytest.raises(NonFiniteReward, match=f"2 of 4 rewards are not finite: {bad} in row 1, {bad} in row 3"):
        token_rewards(scores, *torch.zeros(2, 4, 5), MASK, kl_coefficient=0.1)


def test_bad_input_is_named():
    zeros, scores = torch.zeros(4, 5), torch.zeros(4)
    with pytest.raises(ValueError, match=r"mask must be \(B, T\) of bool, got \(4, 5\) of torch.int64"):
        whiten(zeros, MASK.long())
    with pytest.raises(ValueError, match=r"reference_log_probs must be \(4, 5\), floating point.* got \(4, 4\)"):
        token_rewards(scores, zeros, zeros[:, 1:], MASK, kl_coefficient=0.1)
    with pytest.raises(ValueError, match=r"values must be .* got \(4, 5\) of torch.int64"):
        token_advantages(zeros, zeros.long(), MASK)
    for wrong in (scores[:, None], scores[:3], scores.long()):
        with pytest.raises(ValueError, match="one floating-point number for each of 4 completions"):
            token_rewards(wrong, zeros, zeros, MASK, kl_coefficient=0.1)
    with pytest.raises(ValueError, match="kl_coefficient must be 0 or more, got -1"):
        token_rewards(scores, zeros, zeros, MASK, kl_coefficient=-1)
    gap = MASK.clone()
    gap[0, 2] = False
    with pytest.raises(ValueError, match="row 0 has a gap"):
        token_advantages(zeros, zeros, gap)
    with pytest.raises(ValueError, match=r"lam must lie in \[0, 1\], got 2"):
        token_advantages(zeros, zeros, MASK, lam=2)
