"""From a rollout to updates: how rows are dealt out and normalised, when epochs stop, what trainings report."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from course_lib.loops import Run, fingerprint
from course_lib.rl import (
    ActorCritic,
    PolicyBatch,
    actor_critic,
    actor_critic_for,
    improve,
    make_envs,
    minibatches,
    play_episodes,
    policy_gradient,
    ppo,
    ppo_objective,
    reinforce,
)
from course_lib.rl.collector import mixed_seed

gymnasium = pytest.importorskip("gymnasium")
TINY = {"steps": 200, "seed": 0, "num_envs": 2}


class Target(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-3, 3, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action):
        return np.zeros(1, dtype=np.float32), -((action - [0.5, -1.0]) ** 2).sum(), True, False, {}


@pytest.fixture
def batch():
    """Rows whose every column tells the row's number."""
    g = torch.Generator().manual_seed(0)
    rows = torch.arange(50.0)
    return PolicyBatch(
        torch.randn(50, 3, generator=g), torch.randint(2, (50,), generator=g), -rows / 50, rows**2, rows, rows
    )


def test_every_row_comes_once_and_its_columns_stay_together(batch):
    g = torch.Generator().manual_seed(0)
    parts = list(minibatches(batch, 16, generator=g, normalise=None))
    assert [len(part.returns) for part in parts] == [17, 17, 16]  # 50 / 16 is nearest to 3 parts
    rows = torch.cat([part.returns for part in parts])
    assert rows.sort().values.tolist() == list(range(50))
    assert rows.tolist() != list(range(50))
    for part in parts:
        assert torch.equal(part.advantages, part.returns**2)
        assert torch.equal(part.observations, batch.observations[part.returns.long()])


def test_normalising_each_part_and_the_whole(batch):
    parts = list(minibatches(batch, 16, generator=torch.Generator().manual_seed(0), normalise="minibatch"))
    for part in parts:
        expected = (part.returns**2 - (part.returns**2).mean()) / (part.returns**2).std(correction=0)
        assert_close(part.advantages, expected, rtol=1e-5, atol=1e-6)
    whole = torch.cat([p.advantages for p in minibatches(batch, 16, generator=torch.Generator(), normalise="rollout")])
    assert_close((whole.mean(), whole.std(correction=0)), (torch.tensor(0.0), torch.tensor(1.0)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [7.0, 0.1, 1000.3])  # the mean of equal numbers is not always that number
@pytest.mark.parametrize("rows", [2, 11, 50])
def test_equal_advantages_are_no_reason_to_move(batch, rows, value):
    same = PolicyBatch(*(column[:rows] for column in batch))._replace(advantages=torch.full((rows,), value))
    (part,) = minibatches(same, 50, generator=torch.Generator(), normalise="minibatch")
    assert part.advantages.eq(0).all()


def test_a_single_advantage_is_left_as_it_is(batch):
    one = PolicyBatch(*(column[7:8] for column in batch))
    for normalise in ("minibatch", "rollout", None):
        (part,) = minibatches(one, 64, generator=torch.Generator(), normalise=normalise)
        assert part.advantages.tolist() == [49.0]


def test_how_to_deal_out_is_checked(batch):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(minibatches(batch, 0, generator=torch.Generator()))
    with pytest.raises(ValueError, match="normalise must be 'minibatch', 'rollout' or None, got 'batch'"):
        next(minibatches(batch, 4, generator=torch.Generator(), normalise="batch"))


def updated(batch, **options):
    model = ActorCritic(3, 2, generator=torch.Generator().manual_seed(0))
    batch = batch._replace(log_probs=model(batch.observations, batch.actions).log_probs.detach())
    run = Run(model, ppo_objective(), torch.optim.SGD(model.parameters(), lr=0.1), max_grad_norm=5.0)
    settings = {"batch_size": 25, "generator": torch.Generator().manual_seed(0), **options}
    return improve(run, batch, **settings), run


def test_epochs_stop_when_the_policy_has_moved_far_enough(batch):
    all_of_them, run = updated(batch, epochs=8)
    assert all_of_them["epochs"] == 8
    assert all_of_them["updates"] == run.index == 16
    far = all_of_them["kl"]
    fewer, run = updated(batch, epochs=8, target_kl=far / 2)
    assert 1 <= fewer["epochs"] < 8
    assert run.index == 2 * fewer["epochs"]
    assert fewer["kl"] > far / 2  # it stops after the epoch that went too far
    before, _ = updated(batch, epochs=int(fewer["epochs"]) - 1) if fewer["epochs"] > 1 else ({"kl": 0.0}, None)
    assert before["kl"] <= far / 2


def test_what_is_reported_is_the_mean_of_the_last_epoch(batch):
    one, _ = updated(batch, epochs=1, batch_size=50)
    two, run = updated(batch, epochs=2, batch_size=50)
    model = ActorCritic(3, 2, generator=torch.Generator().manual_seed(0))
    assert one["entropy"] == pytest.approx(0.6931, abs=1e-3)  # of the policy before its only update: nearly uniform
    assert one["kl"] == 0
    once = updated(batch, epochs=1, batch_size=50)[1].model
    expected = model(batch.observations, batch.actions).log_probs - once(batch.observations, batch.actions).log_probs
    log_ratio = -expected.detach()
    assert two["kl"] == pytest.approx((log_ratio.exp() - 1 - log_ratio).mean().item(), rel=1e-3)
    assert one["learning_rate"] == 0.1
    assert run.index == 2


def test_stopping_by_kl_needs_an_objective_that_reports_it(batch):
    model = ActorCritic(3, 2, generator=torch.Generator().manual_seed(0))
    run = Run(model, policy_gradient(), torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="target_kl needs an objective that reports kl"):
        improve(run, batch, epochs=2, batch_size=25, generator=torch.Generator(), target_kl=0.01)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        reinforce("CartPole-v1", steps=0, seed=0)


@pytest.mark.parametrize("train", [ppo, actor_critic, reinforce])
def test_a_seed_decides_everything(train):
    one, again = train("CartPole-v1", **TINY), train("CartPole-v1", **TINY)
    other = train("CartPole-v1", **{**TINY, "seed": 1})
    assert fingerprint(one.policy) == fingerprint(again.policy) != fingerprint(other.policy)
    assert one.episode_returns == again.episode_returns
    assert str(one.rows) == str(again.rows)  # as text, because nan differs from itself


@pytest.mark.parametrize("train", [ppo, actor_critic, reinforce])
def test_torchs_own_randomness_is_neither_read_nor_moved(train):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = train("CartPole-v1", **TINY)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert fingerprint(one.policy) == fingerprint(train("CartPole-v1", **TINY).policy)


def test_the_rows_tell_the_way(scripted):
    """Episodes of 4 steps with known rewards: all numbers of the table are known."""
    told = []
    make = scripted([(4, "terminated")])
    learned = ppo(make, steps=48, seed=0, num_envs=2, rollout_length=10, epochs=3, batch_size=8, on_row=told.append)
    assert told == learned.rows
    # of 10 steps in each environment 8 are transitions (two resets), 16 in a round; a round makes 2 parts, 3 epochs
    assert learned.column("environment_steps") == [16, 32, 48]
    assert learned.column("updates") == [6, 12, 18]
    assert learned.column("epochs") == [3, 3, 3]
    assert learned.column("episodes") == [4, 8, 12]
    first, second = 1 + 2 + 3 + 4, 101 + 102 + 103 + 104
    assert learned.episode_returns[:4] == [first, first, second, second]
    assert learned.column("mean_return")[0] == (first + second) / 2
    assert learned.column("learning_rate") == pytest.approx([1e-3, 1e-3 * 2 / 3, 1e-3 / 3])
    with pytest.raises(ValueError, match=r"no column 'kll'; there are: environment_steps, episodes"):
        learned.column("kll")


def test_without_decay_the_rate_stays(scripted):
    learned = actor_critic(scripted([(4, "truncated")]), steps=30, seed=0, num_envs=2, rollout_length=5, decay=False)
    assert set(learned.column("learning_rate")) == {2e-3}


def test_reinforce_plays_whole_episodes(scripted):
    learned = reinforce(scripted([(4, "terminated")]), steps=20, seed=0, num_envs=2)
    assert learned.column("environment_steps") == [8, 16, 24]
    assert learned.column("updates") == [1, 2, 3]
    assert all(episode in (10, 410, 810) for episode in learned.episode_returns)


@pytest.mark.parametrize("baseline", [False, True])
def test_reinforce_weighs_actions_by_what_came_after_them(baseline):
    """The first update's loss, from the same episodes played by hand: returns, minus the critic's values if asked."""
    envs, g = make_envs("CartPole-v1", 2), torch.Generator().manual_seed(0)
    policy = actor_critic_for(envs, generator=g)
    rollout = play_episodes(envs, policy, generator=g, seed=mixed_seed(0))
    losses = []
    for n in range(2):
        to_come = 0.0
        for t in reversed(range(int(rollout.valid[:, n].sum()))):
            to_come = rollout.rewards[t, n].item() + 0.9 * to_come
            judged = policy(rollout.observations[t, n : n + 1], rollout.actions[t, n : n + 1])
            losses.append(-judged.log_probs.item() * (to_come - (judged.values.item() if baseline else 0.0)))
    options = {"baseline": baseline, "normalise": False, "gamma": 0.9}
    learned = reinforce("CartPole-v1", steps=1, seed=0, num_envs=2, **options)
    assert learned.column("policy_loss") == pytest.approx([sum(losses) / len(losses)], rel=1e-5)


def test_reinforce_without_a_baseline_leaves_the_critic_alone(scripted):
    make = scripted([(4, "terminated")])
    critics = []
    for steps in (8, 40):
        learned = reinforce(make, steps=steps, seed=0, num_envs=2, baseline=False)
        critics.append([weight.detach().clone() for weight in learned.policy.critic.parameters()])
    assert_close(critics[0], critics[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("train", "options"),
    [(ppo, {"rollout_length": 32, "epochs": 10}), (actor_critic, {}), (reinforce, {"num_envs": 32})],
)
def test_continuous_actions_are_learnt_too(train, options):
    """Episodes of one step that give minus the squared distance to (0.5, -1): the mean goes there."""
    learned = train(Target, steps=4000, seed=0, learning_rate=1e-2, **options)
    assert_close(learned.policy.act(torch.zeros(1, 1)), torch.tensor([[0.5, -1.0]]), rtol=0, atol=0.15)
    assert learned.policy.log_std.max() < -0.1  # and it has become surer than the 0 it began with


def test_one_environment_of_one_step_learns():
    """One row in an update: its weight is its return, not 0."""
    learned = reinforce(Target, steps=1, seed=0, num_envs=1, baseline=False)
    assert learned.column("grad_norm")[0] > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"rollout_length": 1}, "rollout_length must be at least 2"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"normalise": "batch"}, "normalise must be 'minibatch', 'rollout' or None, got 'batch'"),
        ({"target_kl": 0.0}, "target_kl must be above 0, got 0.0"),
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"clip": 0.0}, "must be above 0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ppo("CartPole-v1", **{"steps": 100, "seed": 0, **options})


def test_micro_batches_and_one_batch_give_actor_critic_the_same_update(batch):
    weights = []
    for cut in (50, 20):
        model = ActorCritic(3, 2, generator=torch.Generator().manual_seed(0))
        run = Run(model, policy_gradient(value_coefficient=0.5), torch.optim.SGD(model.parameters(), lr=1e-3))
        parts = [PolicyBatch(*columns) for columns in zip(*(column.split(cut) for column in batch), strict=True)]
        run.step(*parts)
        weights.append([weight.detach() for weight in model.parameters()])
    assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)
