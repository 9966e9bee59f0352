"""The closed-form optimum: it beats every other policy, and DPO finds it and the rater's reward behind it."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import dpo_loss, implicit_reward, ipo_loss, optimal_policy, regularised_reward

REFERENCE = torch.tensor([0.5, 0.25, 0.2, 0.05], dtype=torch.float64)
REWARDS = torch.tensor([0.3, -1.0, 1.5, 2.0], dtype=torch.float64)


def test_a_case_by_thought_alone():
    # rewards log 1, log 2, log 3 at beta 1 are weights 1, 2, 3; of reference 1/2, 1/4, 1/4: 2, 2, 3 sevenths
    reference, rewards = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([1.0, 2.0, 3.0]).log()
    assert_close(optimal_policy(reference, rewards, beta=1.0), torch.tensor([2.0, 2.0, 3.0]) / 7)


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0])
def test_the_greatest_value_is_beta_log_z_and_nobody_has_more(beta):
    best = optimal_policy(REFERENCE, REWARDS, beta=beta)
    log_z = (REFERENCE * (REWARDS / beta).exp()).sum().log()
    most = regularised_reward(best, REFERENCE, REWARDS, beta=beta)
    assert_close(most, beta * log_z, rtol=1e-12, atol=1e-12)
    generator = torch.Generator().manual_seed(0)
    others = (
        torch.rand(500, 4, generator=generator, dtype=torch.float64).log().mul(-1)
    )  # exponential: all of the simplex
    others = others / others.sum(1, keepdim=True)
    values = regularised_reward(others, REFERENCE.expand(500, 4), REWARDS.expand(500, 4), beta=beta)
    kl = (others * (others / best).log()).sum(1)
    assert_close(values, most - beta * kl, rtol=1e-10, atol=1e-12)  # what is missing is the distance to the optimum


def test_limits():
    assert_close(optimal_policy(REFERENCE, REWARDS, beta=1e9), REFERENCE, rtol=0, atol=1e-8)
    assert_close(
        optimal_policy(REFERENCE, REWARDS, beta=1e-3), torch.tensor([0.0, 0, 0, 1]).double(), rtol=0, atol=1e-12
    )
    assert_close(optimal_policy(REFERENCE, REWARDS + 7, beta=0.5), optimal_policy(REFERENCE, REWARDS, beta=0.5))


def test_what_the_reference_never_writes_stays_impossible():
    reference = torch.tensor([0.5, 0.5, 0.0])
    best = optimal_policy(reference, torch.tensor([0.0, 0.0, 100.0]), beta=1.0)
    assert best.tolist() == [0.5, 0.5, 0.0]
    uniform = torch.full((3,), 1 / 3)
    assert regularised_reward(uniform, reference, torch.zeros(3), beta=1.0) == -torch.inf
    assert regularised_reward(best, reference, torch.zeros(3), beta=1.0) == 0


def fitted(loss, win, beta):
    """Minimise the expected loss over all pairs exactly: ``win[i, j]`` is how often i is preferred to j."""
    logits = REFERENCE.log().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    i, j = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T

    def closure():
        optimizer.zero_grad()
        log_probs, reference = logits.log_softmax(0), REFERENCE.log()
        losses = loss(log_probs[i], log_probs[j], reference[i], reference[j], beta=beta, reduction="none")
        total = (win[i, j] * losses).sum()
        total.backward()
        return total

    optimizer.step(closure)
    return logits.detach().log_softmax(0)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_dpo_finds_the_optimum_and_its_implied_reward_is_the_raters(beta):
    win = (REWARDS[:, None] - REWARDS).sigmoid()
    found = fitted(dpo_loss, win, beta)
    assert_close(found.exp(), optimal_policy(REFERENCE, REWARDS, beta=beta), rtol=1e-6, atol=1e-9)
    implied = implicit_reward(found, REFERENCE.log(), beta=beta)
    assert_close(implied - implied[0], REWARDS - REWARDS[0], rtol=0, atol=1e-6)  # up to a constant


def test_ipo_finds_the_optimum_for_the_chance_of_winning():
    """Azar et al., eq. 6 with the identity: the reward is the probability of beating a uniform opponent."""
    win = (REWARDS[:, None] - REWARDS).sigmoid()
    found = fitted(ipo_loss, win, 0.5)
    # the paper's sampling of pairs: both from one distribution, here uniform over the four
    assert_close(found.exp(), optimal_policy(REFERENCE, win.mean(1), beta=0.5), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("reference", "rewards", "beta", "message"),
    [
        (REFERENCE, REWARDS[:3], 1.0, "one shape"),
        (REFERENCE, REWARDS, 0.0, "beta must be positive"),
        (2 * REFERENCE, REWARDS, 1.0, r"sum to 1 along the last axis, got sums 2\.0"),
        (REFERENCE - torch.tensor([0.6, 0, 0, -0.6]), REWARDS, 1.0, "must be probabilities"),
    ],
)
def test_bad_input_is_named(reference, rewards, beta, message):
    with pytest.raises(ValueError, match=message):
        optimal_policy(reference, rewards, beta=beta)
    with pytest.raises(ValueError, match=message):
        regularised_reward(REFERENCE, reference, rewards, beta=beta)
