"""Rollouts of scripted environments whose every episode is known: resets, ends, cuts, masks, returns, seeds."""

import numpy as np
import pytest
import torch

from course_lib.rl import ActorCritic, Collector, Rollout, join_transitions, make_envs, play_episodes, policy_batch
from course_lib.rl.collector import choose, mixed_seed

pytest.importorskip("gymnasium")


def zeros(observations):
    return torch.zeros(len(observations), dtype=torch.int64)


@pytest.fixture
def two(scripted):
    """One environment with episodes of 3 (true end) and 2 (cut off) steps, one of 4 (true end) steps."""
    makes = iter([scripted([(3, "terminated"), (2, "truncated")]), scripted([(4, "terminated")])])
    from gymnasium.vector import SyncVectorEnv

    return SyncVectorEnv([lambda make=make: make() for make in makes])


def test_every_step_is_where_the_script_has_it(two):
    rollout = Collector(two, seed=0).collect(zeros, 9)
    # environment 0: steps 1 2 3 | reset | 1 2 | reset | 1 2;  environment 1: 1 2 3 4 | reset | 1 2 3 4
    assert rollout.rewards.T.tolist() == [[1, 2, 3, 0, 101, 102, 0, 201, 202], [1, 2, 3, 4, 0, 101, 102, 103, 104]]
    assert rollout.valid.T.int().tolist() == [[1, 1, 1, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 1, 1, 1, 1]]
    assert rollout.terminated.T.int().tolist() == [[0, 0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 1]]
    assert rollout.truncated.T.int().tolist() == [[0, 0, 0, 0, 0, 1, 0, 0, 0], [0] * 9]


def test_what_follows_a_step_is_of_the_same_episode(two):
    rollout = Collector(two, seed=0).collect(zeros, 30)
    before, after = (rollout.rows(part) for part in (rollout.observations[:-1], rollout.next_observations))
    assert torch.equal(after[:, 0], before[:, 0])  # the episode
    assert torch.equal(after[:, 1], before[:, 1] + 1)  # the step in it


def test_transitions_leave_the_resets_out(two):
    rollout = Collector(two, seed=0).collect(zeros, 9)
    rows = rollout.transitions()
    assert len(rows.rewards) == int(rollout.valid.sum()) == 15
    assert 0.0 not in rows.rewards.tolist()  # only the reset steps gave 0
    assert sorted(rows.rewards[rows.terminated].tolist()) == [3.0, 4.0, 104.0]


def test_a_second_call_goes_on_where_the_first_stopped(two, scripted):
    collector = Collector(two, seed=0)
    parts = [collector.collect(zeros, length) for length in (3, 1, 5)]  # the first ends right before a reset
    rewards, valid = (torch.cat([getattr(part, name) for part in parts]) for name in ("rewards", "valid"))
    assert rewards[:, 0].tolist() == [1, 2, 3, 0, 101, 102, 0, 201, 202]
    assert valid[:, 0].int().tolist() == [1, 1, 1, 0, 1, 1, 0, 1, 1]
    assert torch.equal(parts[0].observations[-1], parts[1].observations[0])


def test_returns_and_steps_are_counted_without_the_resets(two):
    collector = Collector(two, seed=0)
    for length in (2, 4, 3):
        collector.collect(zeros, length)
    assert collector.episode_returns == [1 + 2 + 3, 1 + 2 + 3 + 4, 101 + 102 + 0, 101 + 102 + 103 + 104]
    assert collector.num_steps == 15


def test_advantages_at_every_border_are_those_of_the_single_episodes(two):
    """The whole path, from a vectorised rollout with its resets to GAE, against each episode computed by itself."""
    policy = ActorCritic(2, 3, generator=torch.Generator().manual_seed(0)).double()
    gamma, lam, length = 0.9, 0.8, 11
    rollout = Collector(two, seed=0).collect(zeros, length)
    wide = Rollout(
        rollout.observations.double(),
        rollout.actions,
        rollout.rewards.double(),
        *(rollout.terminated, rollout.truncated, rollout.valid),
    )
    batch = policy_batch(policy, wide, gamma=gamma, lam=lam)
    found = torch.full((length, 2), torch.nan, dtype=torch.float64)
    found[rollout.valid] = batch.advantages

    scripts = ([(3, "terminated"), (2, "truncated")], [(4, "terminated")])
    for n, script in enumerate(scripts):
        t, episode = 0, 0
        while t < length:
            steps, how = script[episode % len(script)]
            seen = torch.tensor([[episode, s] for s in range(steps + 1)], dtype=torch.float64)
            values = policy.values(seen).detach()
            rewards = [100 * episode + s for s in range(1, steps + 1)]
            in_view = min(steps, length - t)
            for s in range(in_view):
                expected = 0.0
                for k in range(s, in_view):
                    follows = 0.0 if how == "terminated" and k == steps - 1 else values[k + 1].item()
                    expected += (gamma * lam) ** (k - s) * (rewards[k] + gamma * follows - values[k].item())
                assert found[t + s, n].item() == pytest.approx(expected, rel=1e-9)
            t, episode = t + steps + 1, episode + 1  # one more step for the reset


def test_old_log_probs_and_returns_are_the_policys_own(two):
    policy = ActorCritic(2, 3, generator=torch.Generator().manual_seed(0))
    rollout = Collector(two, seed=0).collect(policy, 9, generator=torch.Generator().manual_seed(1))
    batch = policy_batch(policy, rollout, gamma=0.9, lam=0.8)
    judged = policy(batch.observations, batch.actions)
    torch.testing.assert_close(batch.log_probs, judged.log_probs.detach())
    torch.testing.assert_close(batch.values, judged.values.detach())
    torch.testing.assert_close(batch.returns, batch.advantages + batch.values)
    assert not batch.advantages.requires_grad


def test_one_episode_in_each_environment(two):
    rollout = play_episodes(two, zeros, seed=0)
    assert rollout.valid.T.int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert (rollout.rewards * rollout.valid).sum(0).tolist() == [6.0, 10.0]
    assert int(rollout.done.sum()) == 2
    assert play_episodes(two, zeros).rewards[0].tolist() == [201.0, 101.0]  # anew; one had reset itself meanwhile


def test_cartpole_has_the_same_steps_by_hand():
    """The recorded actions, given to single environments that are reset by hand, lead to the same observations."""
    import gymnasium

    envs = make_envs("CartPole-v1", 2)
    policy = ActorCritic(4, 2, generator=torch.Generator().manual_seed(0))
    rollout = Collector(envs, seed=3).collect(policy, 120, generator=torch.Generator().manual_seed(1))
    for n in range(2):
        env = gymnasium.make("CartPole-v1")
        seen, _ = env.reset(seed=mixed_seed(3) + n)
        over = False
        for t in range(120):
            np.testing.assert_array_equal(rollout.observations[t, n].numpy(), seen)
            assert bool(rollout.valid[t, n]) == (not over)
            if over:
                seen, _ = env.reset()
                over = False
                continue
            seen, reward, terminated, truncated, _ = env.step(int(rollout.actions[t, n]))
            over = terminated or truncated
            assert reward == rollout.rewards[t, n]
            assert over == bool(rollout.done[t, n])


def test_the_vectorised_cartpole_is_read_the_same_way():
    """Gymnasium's array code resets by the same rule: after each end one step that is no transition."""
    collector = Collector(make_envs("CartPole-v1", 4, vectorization="vector_entry_point"), seed=0)
    rollout = collector.collect(zeros, 50)
    done = torch.cat([torch.zeros(1, 4, dtype=torch.bool), rollout.done[:-1]])
    assert torch.equal(rollout.valid, ~done)
    assert rollout.rewards[~rollout.valid].eq(0).all()
    assert rollout.rewards[rollout.valid].eq(1).all()


def test_the_same_seed_gives_the_same_rollout_and_another_another():
    policy = ActorCritic(4, 2, generator=torch.Generator().manual_seed(0))

    def rollout(seed):
        collector = Collector(make_envs("CartPole-v1", 2), seed=seed)
        return collector.collect(policy, 30, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(rollout(0).observations, rollout(0).observations)
    assert not torch.equal(rollout(0).observations[0], rollout(1).observations[0])


def test_neighbouring_seeds_share_no_environment():
    seeds = [mixed_seed(seed) for seed in range(50)]
    assert min(abs(a - b) for i, a in enumerate(seeds) for b in seeds[:i]) > 100


def test_continuous_actions_are_clipped_for_the_environment_only():
    envs = make_envs("Pendulum-v1", 2)

    def strong(observations):
        return torch.full((len(observations), 1), 50.0)

    rollout = Collector(envs, seed=0).collect(strong, 5)
    assert rollout.actions.eq(50.0).all()
    clipped = Collector(make_envs("Pendulum-v1", 2), seed=0).collect(lambda seen: torch.full((2, 1), 2.0), 5)
    assert torch.equal(rollout.observations, clipped.observations)  # Pendulum's torque is at most 2


def test_bad_input_is_named(scripted, two):
    import gymnasium
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    class DictObservations(gymnasium.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            self.observation_space = gymnasium.spaces.Dict(a=env.observation_space)

        def observation(self, observation):
            return {"a": observation}

    same_step = SyncVectorEnv([scripted([(3, "terminated")])], autoreset_mode=AutoresetMode.SAME_STEP)
    for use in (lambda: Collector(same_step, seed=0), lambda: play_episodes(same_step, zeros)):
        with pytest.raises(ValueError, match="NEXT_STEP"):
            use()
    named = SyncVectorEnv([lambda: DictObservations(scripted([(3, "terminated")])())])
    for use in (lambda: Collector(named, seed=0).collect(zeros, 1), lambda: play_episodes(named, zeros)):
        with pytest.raises(ValueError, match=r"observations must be arrays, got Dict"):
            use()
    with pytest.raises(ValueError, match="length=0"):
        Collector(two, seed=0).collect(zeros, 0)
    with pytest.raises(ValueError, match=r"actions \(1,\) for 2 environments"):
        Collector(two, seed=0).collect(lambda observations: torch.zeros(1).long(), 3)
    with pytest.raises(ValueError, match="got Linear"):
        choose(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        Collector(two, seed=-1)
    with pytest.raises(ValueError, match="no transitions to join"):
        join_transitions([])
    ok = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"got rewards \(3, 2\), actions \(3, 2\), observations \(3, 2, 4\)"):
        Rollout(torch.zeros(3, 2, 4), ok, ok, ok.bool(), ok.bool(), ok.bool())
