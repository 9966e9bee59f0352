"""The policy gradient objective: the formula read aloud, and its gradient against the exact one of a tiny world."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.rl import (
    ActorCritic,
    PolicyBatch,
    exact_policy_gradient,
    expected_return,
    gridworld,
    policy_gradient,
    policy_values,
    reinforce_gradients,
    sample_episodes,
    trajectories,
)
from course_lib.rl.policies import Judged


@pytest.fixture
def world():
    """Three cells in a corridor, a goal worth 5; some moves slip. With logits that are not uniform."""
    mdp = gridworld("S.G", slip=0.2, rewards={"G": 5.0}, gamma=0.8).mdp
    return mdp, torch.randn(3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Table(nn.Module):
    """A softmax policy with a logit for each state and action."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, states, actions):
        log_probs = self.logits.log_softmax(-1)[states, actions]
        return Judged(log_probs, torch.zeros_like(log_probs), torch.zeros_like(log_probs))


def test_all_trajectories_together_are_certain(world):
    mdp, logits = world
    policy = logits.softmax(-1)
    chances = [one.chance * policy[list(one.states), list(one.actions)].prod().item() for one in trajectories(mdp, 3)]
    assert len(chances) > 100
    assert sum(chances) == pytest.approx(1.0, abs=1e-12)


def test_the_policy_gradient_theorem(world):
    """The theorem's sum equals what automatic differentiation makes of the expected return."""
    mdp, logits = world
    logits.requires_grad_()
    expected_return(logits, mdp, horizon=3).backward()
    assert_close(exact_policy_gradient(logits, mdp, horizon=3), logits.grad, rtol=1e-12, atol=1e-14)


def test_the_expected_return_is_the_value_of_the_start(random_mdp):
    """With a horizon beyond which next to nothing counts, it is the linear system's answer."""
    mdp, logits = random_mdp(0, gamma=0.05), torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double()
    exact = (mdp.start * policy_values(mdp, logits.softmax(-1))).sum()
    assert_close(expected_return(logits, mdp, horizon=3), exact, rtol=0, atol=5 * 0.05**3)  # rewards are below 5


def test_a_state_that_cannot_be_left_has_no_gradient(world):
    mdp, logits = world
    gradient = exact_policy_gradient(logits, mdp, horizon=3)
    assert gradient[2].eq(0).all()  # the goal
    assert_close(gradient.sum(1), torch.zeros(3).double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("with_baseline", [False, True])
def test_reinforce_is_right_on_average(world, with_baseline):
    mdp, logits = world
    baseline = policy_values(mdp, logits.softmax(-1)) if with_baseline else None
    g = torch.Generator().manual_seed(0)
    episodes = sample_episodes(mdp, logits, num_episodes=40_000, horizon=3, generator=g)
    each = reinforce_gradients(logits, episodes, gamma=mdp.gamma, baseline=baseline)
    error = each.mean(0) - exact_policy_gradient(logits, mdp, horizon=3)
    assert (error.abs() <= 4 * each.std(0) / 200).all()  # four standard errors, 8 numbers that are not 0


def test_a_baseline_lowers_the_variance_and_not_the_mean(world):
    mdp, logits = world
    g = torch.Generator().manual_seed(0)
    episodes = sample_episodes(mdp, logits, num_episodes=20_000, horizon=8, generator=g)
    values = policy_values(mdp, logits.softmax(-1))
    plain, less = (reinforce_gradients(logits, episodes, gamma=mdp.gamma, baseline=b) for b in (None, values))
    assert less.var(0).sum() < 0.8 * plain.var(0).sum()
    paired = plain - less
    assert (paired.mean(0).abs() <= 4 * paired.std(0) / 20_000**0.5).all()


def test_the_objective_has_the_estimates_gradient(world):
    """Minus the objective's gradient, over the same episodes, is their summed REINFORCE estimate."""
    mdp, logits = world
    episodes = sample_episodes(mdp, logits, num_episodes=30, horizon=6, generator=torch.Generator().manual_seed(0))
    rewards, valid = episodes.rewards * episodes.valid, episodes.valid
    to_come = torch.zeros_like(rewards)
    for t in range(6):
        for k in range(t, 6):
            to_come[:, t] += mdp.gamma**k * rewards[:, k]  # discounted from the start: gamma^t is in it
    weights = to_come[valid]
    states, actions = episodes.states[valid], episodes.actions[valid]
    model = Table(logits)
    loss = policy_gradient()(model, PolicyBatch(states, actions, weights, weights, weights, weights))
    loss.total.backward()
    expected = reinforce_gradients(logits, episodes, gamma=mdp.gamma).sum(0)
    assert loss.count == int(valid.sum())
    assert_close(-model.logits.grad, expected, rtol=1e-10, atol=1e-12)


def test_the_objective_is_the_formula_read_aloud():
    g = torch.Generator().manual_seed(0)
    model = ActorCritic(3, 4, generator=g).double()
    seen, actions = torch.randn(9, 3, generator=g).double(), torch.randint(4, (9,), generator=g)
    advantages, returns, unused = torch.randn(3, 9, generator=g).double()
    batch = PolicyBatch(seen, actions, unused, advantages, returns, unused)
    loss = policy_gradient(value_coefficient=0.3, entropy_coefficient=0.02)(model, batch)
    total = 0.0
    for x, a, advantage, target in zip(seen, actions, advantages, returns, strict=True):
        p = model.actor(x[None]).softmax(-1)[0]
        total -= p[a].log().item() * advantage.item()
        total += 0.3 * (model.critic(x[None]).item() - target.item()) ** 2
        total -= 0.02 * -(p * p.log()).sum().item()
    assert loss.total.item() == pytest.approx(total, rel=1e-12)
    assert sorted(loss.metrics) == ["entropy", "policy_loss", "value_loss"]


def test_bad_input_is_named(world):
    mdp, logits = world
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        trajectories(mdp, 0)
    for function in (expected_return, exact_policy_gradient):
        with pytest.raises(ValueError, match=r"logits must be \(S, A\), here \(3, 4\), got \(4, 3\)"):
            function(logits.T, mdp, horizon=2)
    with pytest.raises(ValueError, match="at least 1, got 0 and 5"):
        sample_episodes(mdp, logits, num_episodes=0, horizon=5, generator=torch.Generator())


def test_too_many_trajectories_are_refused(world, monkeypatch):
    monkeypatch.setattr("course_lib.rl.exact_gradient.MOST", 50)
    with pytest.raises(ValueError, match="more than 50 trajectories"):
        expected_return(world[1], world[0], horizon=5)
