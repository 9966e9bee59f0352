"""Policies: probabilities against torch.distributions, how actions are drawn, how weights start."""

import math

import pytest
import torch
from torch import distributions, nn
from torch.testing import assert_close

from course_lib.rl import ActorCritic, QNetwork, actor_critic_for, make_envs, q_network_for


@pytest.fixture
def g():
    return torch.Generator().manual_seed(0)


def unlike_the_start(policy, g):
    """Give every weight another value, so that nothing is right only because it starts at zero."""
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.7, generator=g)
    return policy.double()


def test_choices_are_judged_as_by_torch(g):
    policy = unlike_the_start(ActorCritic(3, 5), g)
    seen, actions = torch.randn(20, 3, generator=g).double(), torch.randint(5, (20,), generator=g)
    judged = policy(seen, actions)
    expected = distributions.Categorical(logits=policy.actor(seen))
    assert_close(judged.log_probs, expected.log_prob(actions), rtol=1e-12, atol=1e-14)
    assert_close(judged.entropy, expected.entropy(), rtol=1e-12, atol=1e-14)
    assert_close(judged.values, policy.critic(seen)[:, 0], rtol=0, atol=0)


def test_vectors_are_judged_as_by_torch(g):
    policy = unlike_the_start(ActorCritic(3, 2, continuous=True), g)
    seen, actions = torch.randn(20, 3, generator=g).double(), torch.randn(20, 2, generator=g).double()
    judged = policy(seen, actions)
    expected = distributions.Independent(distributions.Normal(policy.actor(seen), policy.log_std.exp()), 1)
    assert_close(judged.log_probs, expected.log_prob(actions), rtol=1e-12, atol=1e-14)
    assert_close(judged.entropy, expected.entropy(), rtol=1e-12, atol=1e-14)


def test_actions_come_as_often_as_the_policy_says(g):
    policy = unlike_the_start(ActorCritic(3, 4), g)
    seen = torch.randn(1, 3, generator=g).double().expand(20_000, 3)
    often = torch.bincount(policy.act(seen, generator=g), minlength=4) / 20_000
    chances = policy.actor(seen[:1]).softmax(-1)[0]
    assert ((often - chances).abs() < 4 * (chances * (1 - chances) / 20_000).sqrt()).all()  # 4 standard errors


def test_vectors_scatter_as_the_policy_says(g):
    policy = unlike_the_start(ActorCritic(3, 2, continuous=True), g)
    seen = torch.randn(1, 3, generator=g).double().expand(20_000, 3)
    z = (policy.act(seen, generator=g) - policy.actor(seen)) / policy.log_std.exp()
    assert_close(z.mean(0), torch.zeros(2).double(), rtol=0, atol=4 / math.sqrt(20_000))
    assert_close(z.std(0), torch.ones(2).double(), rtol=0, atol=4 / math.sqrt(40_000))


def test_without_a_generator_the_likeliest_is_done(g):
    choices, vectors = (unlike_the_start(ActorCritic(3, 4, continuous=c), g) for c in (False, True))
    seen = torch.randn(30, 3, generator=g).double()
    assert torch.equal(choices.act(seen), choices.actor(seen).argmax(-1))
    assert torch.equal(vectors.act(seen), vectors.actor(seen))


def test_weights_start_orthogonal_and_the_last_layer_of_the_actor_small(g):
    policy = ActorCritic(4, 2, hidden=(64, 32), generator=g)
    for network, last in ((policy.actor, 0.01), (policy.critic, 1.0)):
        for layer, gain in zip(network.linears, (math.sqrt(2), math.sqrt(2), last), strict=True):
            weight = layer.weight.detach()
            square = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
            assert_close(square, gain**2 * torch.eye(len(square)), rtol=0, atol=1e-5)
            assert layer.bias.eq(0).all()


def test_the_same_generator_gives_the_same_weights_and_torchs_own_is_not_touched():
    before = torch.get_rng_state()
    one, other = (ActorCritic(4, 2, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_epsilon_is_the_share_of_random_actions(g):
    network = QNetwork(3, 4, generator=g)
    seen = torch.randn(1, 3, generator=g).expand(20_000, 3)
    best = network(seen[:1]).argmax()
    assert network.act(seen, generator=g).eq(best).all()
    share = network.act(seen, generator=g, epsilon=0.4).eq(best).double().mean()
    expected = 0.6 + 0.4 / 4  # a random action may be the best one
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 20_000)


def test_policies_fit_the_environment():
    pytest.importorskip("gymnasium")
    assert actor_critic_for(make_envs("Pendulum-v1", 1)).act(torch.zeros(2, 3)).shape == (2, 1)
    assert q_network_for(make_envs("CartPole-v1", 1))(torch.zeros(2, 4)).shape == (2, 2)
    with pytest.raises(ValueError, match="these are continuous"):
        q_network_for(make_envs("Pendulum-v1", 1))


def test_bad_input_is_named():
    for make in (ActorCritic, QNetwork):
        with pytest.raises(ValueError, match="num_actions=1"):
            make(4, 1)
    with pytest.raises(ValueError, match="num_actions=0"):
        ActorCritic(4, 0, continuous=True)
    with pytest.raises(ValueError, match=r"actions must be \(B, A\), here \(5, 1\), got \(5,\)"):
        ActorCritic(4, 1, continuous=True)(torch.zeros(5, 4), torch.zeros(5))
