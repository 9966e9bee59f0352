"""Imitation: the loss against torch's, demonstrations of known episodes, what cloning learns, what DAgger asks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.loops import fingerprint
from course_lib.rl import (
    ActorCritic,
    behaviour_cloning,
    clone,
    dagger,
    demonstrations,
    dqn,
    evaluate_policy,
    join_transitions,
    ppo,
    reinforce,
)

pytest.importorskip("gymnasium")


def lean(observations):
    """Push the cart under the pole: about 465 on CartPole."""
    return (observations[:, 2] + observations[:, 3] > 0).long()


def zeros(observations):
    return torch.zeros(len(observations), dtype=torch.int64)


def test_the_loss_is_cross_entropy():
    g = torch.Generator().manual_seed(0)
    policy = ActorCritic(3, 4, generator=g)
    seen, actions = torch.randn(30, 3, generator=g), torch.randint(4, (30,), generator=g)
    loss = behaviour_cloning(policy, (seen, actions))
    assert_close(loss.total, F.cross_entropy(policy.actor(seen), actions, reduction="sum"))
    assert loss.count == 30


def test_the_loss_of_vectors_is_least_at_the_teachers_action():
    policy = ActorCritic(3, 2, continuous=True, generator=torch.Generator().manual_seed(0))
    seen = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    at_mean = behaviour_cloning(policy, (seen, policy.act(seen)))
    assert at_mean.total.item() / 5 == pytest.approx(math.log(2 * math.pi), abs=1e-5)  # two standard normals


def test_demonstrations_are_whole_episodes(scripted):
    from itertools import cycle

    lengths = cycle([3, 5, 2])
    made = demonstrations(zeros, lambda: scripted([(next(lengths), "terminated")])(), episodes=3, seed=0)
    assert [episode.rewards.tolist() for episode in made] == [[1, 2, 3], [1, 2, 3, 4, 5], [1, 2]]
    for episode in made:
        assert episode.terminated.tolist() == [False] * (len(episode.rewards) - 1) + [True]
        assert torch.equal(episode.next_observations[:-1], episode.observations[1:])
    joined = join_transitions(made)
    assert len(joined.actions) == 10


def test_a_time_limit_is_not_marked_as_an_end(scripted):
    (episode,) = demonstrations(zeros, scripted([(3, "truncated")]), episodes=1, seed=0)
    assert episode.terminated.tolist() == [False] * 3


def test_cloning_learns_a_simple_teacher_and_leaves_the_critic():
    g = torch.Generator().manual_seed(0)
    pupil = ActorCritic(4, 2, generator=g)
    critic = fingerprint(pupil.critic)
    data = join_transitions(demonstrations(lean, "CartPole-v1", episodes=3, seed=0))
    losses = clone(pupil, data, steps=400, seed=0, learning_rate=3e-3)
    assert len(losses) == 400
    assert losses[0] == pytest.approx(math.log(2), abs=0.01)
    right = pupil.act(data.observations).eq(data.actions).double().mean()
    assert right > 0.85  # the teacher decides by a hair
    assert fingerprint(pupil.critic) == critic


def test_dagger_asks_where_the_pupil_goes(scripted):
    """The labels are the teacher's whoever plays; the table counts them; the first round is the teacher's own play."""
    asked = []

    def teacher(observations):
        asked.append(observations)
        return torch.ones(len(observations), dtype=torch.int64)

    learned = dagger(teacher, scripted([(4, "terminated")]), rounds=3, steps=40, seed=0, episodes=2, learning_rate=0.03)
    assert learned.column("labels") == [8, 16, 24]
    assert learned.column("mean_return") == [10, 10, 10]
    assert (
        sum(len(part) for part in asked if len(part) == 4) == 24
    )  # each episode's labels; else it plays, two at a time
    assert learned.policy.act(torch.tensor([[0.0, 1.0], [0.0, 3.0]])).tolist() == [1, 1]


def test_dagger_repeats_itself():
    one, again = (dagger(lean, "CartPole-v1", rounds=2, steps=10, seed=4) for _ in range(2))
    assert fingerprint(one.policy) == fingerprint(again.policy)
    assert one.rows == again.rows


def test_evaluation_counts_each_episode_once(scripted):
    """Five copies of the script, one episode each: all numbers known; and nothing about the policy changes."""
    policy = ActorCritic(2, 3, generator=torch.Generator().manual_seed(0)).train()
    before, state = fingerprint(policy), torch.get_rng_state()
    result = evaluate_policy(policy, scripted([(4, "terminated"), (1, "terminated")]), episodes=5, greedy=False)
    assert result.returns.tolist() == [10.0] * 5
    assert result.lengths.tolist() == [4] * 5
    assert (result.mean, result.standard_error) == (10.0, 0.0)
    assert fingerprint(policy) == before
    assert policy.training
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_does_not_count_what_comes_after_an_episode(scripted):
    """Episodes of 1, 4 and 2 steps: the short ones' environments go on until the longest is over, uncounted."""
    from itertools import cycle

    lengths = cycle([1, 4, 2])
    result = evaluate_policy(zeros, lambda: scripted([(next(lengths), "terminated")])(), episodes=3)
    assert result.returns.tolist() == [1, 1 + 2 + 3 + 4, 1 + 2]
    assert result.lengths.tolist() == [1, 4, 2]


def test_evaluation_starts_from_the_seeds_it_names():
    import gymnasium

    result = evaluate_policy(zeros, "CartPole-v1", episodes=3, seed=7)
    for i, length in enumerate(result.lengths.tolist()):
        env = gymnasium.make("CartPole-v1")
        env.reset(seed=7 + i)
        steps, over = 0, False
        while not over:
            *_, over, _, _ = env.step(0)
            steps += 1
        assert steps == length
    assert result.standard_error == pytest.approx(float(result.returns.std()) / 3**0.5)


@pytest.mark.parametrize("train", [ppo, reinforce, dqn, dagger])
def test_environments_that_do_not_fit_are_closed(train):
    import gymnasium

    open_ones = set()

    class Unfit(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.MultiDiscrete([2, 2])

        def __init__(self):
            open_ones.add(self)

        def close(self):
            open_ones.discard(self)

    arguments = ((zeros,), {"rounds": 1, "steps": 1}) if train is dagger else ((), {"steps": 2000})
    with pytest.raises(ValueError, match="actions must be Discrete or a vector"):
        train(*arguments[0], Unfit, seed=0, **arguments[1])
    assert not open_ones


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="episodes must be at least 2"):
        evaluate_policy(zeros, "CartPole-v1", episodes=1)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        demonstrations(zeros, "CartPole-v1", episodes=0, seed=0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        dagger(lean, "CartPole-v1", rounds=1, steps=0, seed=0)
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        dagger(lean, "CartPole-v1", rounds=0, steps=1, seed=0)
