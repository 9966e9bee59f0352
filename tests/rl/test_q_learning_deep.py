"""Deep Q-learning: targets and losses by hand, CQL's penalty, the target network, replay, and a known world learnt."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Run, fingerprint
from course_lib.rl import QLearning, QNetwork, ReplayBuffer, Transitions, cql, dqn, gridworld, value_iteration


class Table(nn.Module):
    """Action values of numbered states."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.as_tensor(values, dtype=torch.float64))

    def forward(self, states):
        return self.values[states]


@pytest.fixture
def by_hand():
    """Two states; the target table says otherwise than the learning one."""
    batch = Transitions(
        torch.tensor([0, 0, 1]),
        torch.tensor([0, 1, 1]),
        torch.tensor([1.0, 2.0, 3.0]).double(),
        torch.tensor([1, 1, 0]),
        torch.tensor([False, True, False]),
    )
    learning, target = Table([[0.0, 1.0], [5.0, 4.0]]), Table([[10.0, 20.0], [30.0, 40.0]])
    return learning, target, batch


@pytest.mark.parametrize(
    ("double", "targets"), [(False, [1 + 0.5 * 40, 2, 3 + 0.5 * 20]), (True, [1 + 0.5 * 30, 2, 3 + 0.5 * 20])]
)
def test_targets_by_hand(by_hand, double, targets):
    learning, target, batch = by_hand
    objective = QLearning(target, gamma=0.5, double=double)
    assert objective.targets(learning, batch).tolist() == targets  # in state 1 the learning table prefers action 0
    loss = objective(learning, batch)
    errors = [abs(value - goal) for value, goal in zip([0.0, 1.0, 4.0], targets, strict=True)]
    assert loss.total.item() == pytest.approx(sum(e * e / 2 if e < 1 else e - 0.5 for e in errors), abs=1e-12)
    assert loss.count == 3
    assert loss.metrics["value"].item() == 5.0


def test_conservatism_by_hand(by_hand):
    learning, target, batch = by_hand
    plain = QLearning(target, gamma=0.5)(learning, batch)
    loss = QLearning(target, gamma=0.5, conservative=2.0)(learning, batch)
    rows = learning(batch.observations).detach()
    gap = F.cross_entropy(rows, batch.actions, reduction="sum")  # what it is in other words: cloning by softmax of Q
    assert_close(loss.metrics["conservative_gap"], gap, rtol=1e-12, atol=0)
    assert_close(loss.total, plain.total + 2.0 * gap, rtol=1e-12, atol=0)


def test_no_gradient_flows_through_the_target(by_hand):
    learning, target, batch = by_hand
    objective = QLearning(target, gamma=0.5, double=True)
    objective(learning, batch).total.backward()
    # only the three values that were taken are pulled, each by 1 towards a target that is farther than 1 away
    assert learning.values.grad.tolist() == [[-1.0, -1.0], [0.0, -1.0]]
    assert all(not parameter.requires_grad for parameter in objective.parameters())


def small_run(period, network=None):
    network = network or QNetwork(2, 3, hidden=(8,), generator=torch.Generator().manual_seed(0))
    objective = QLearning(network, period=period)
    run = Run(network, objective, torch.optim.Adam(network.parameters(), lr=0.01), after_step=[objective.follow])
    g = torch.Generator().manual_seed(1)
    seen, after = torch.randn(2, 20, 2, generator=g)
    batch = Transitions(
        seen, torch.randint(3, (20,), generator=g), torch.randn(20, generator=g), after, torch.zeros(20).bool()
    )
    return run, objective, batch


def test_the_target_stands_still_and_then_follows():
    run, objective, batch = small_run(period=3)
    start = fingerprint(run.model)
    for index in range(1, 8):
        run.step(batch)
        if index in (3, 6):
            caught_up = fingerprint(run.model)
        expected = start if index < 3 else caught_up
        assert fingerprint(objective.target) == expected


def test_the_target_network_is_saved_with_the_run():
    run, _, batch = small_run(period=3)
    for _ in range(4):
        run.step(batch)
    saved = copy.deepcopy(run.state_dict())
    run.step(batch)
    run.step(batch)
    again, objective, _ = small_run(period=3)
    again.load_state_dict(saved)
    again.step(batch)
    again.step(batch)
    assert fingerprint(again.model) == fingerprint(run.model)
    assert fingerprint(objective.target) == fingerprint(run.objective.target)


def test_a_known_world_is_learnt_exactly():
    """All transitions of a corridor, a table as network: Q-learning's fixed point is value iteration's."""
    mdp = gridworld("S.G", rewards={"G": 3.0}, gamma=0.5).mdp
    states, actions = (x.flatten() for x in torch.meshgrid(torch.arange(2), torch.arange(4), indexing="ij"))
    after = mdp.transitions[states, actions].argmax(-1)
    batch = Transitions(states, actions, mdp.rewards[states, actions], after, mdp.terminal[after])
    table = Table(torch.zeros(3, 4))
    objective = QLearning(table, gamma=0.5, period=5)
    run = Run(table, objective, torch.optim.SGD(table.parameters(), lr=4.0), after_step=[objective.follow])
    for _ in range(300):
        run.step(batch)
    assert_close(table.values[:2].detach(), value_iteration(mdp).action_values[:2], rtol=0, atol=1e-9)


def test_the_replay_buffer_keeps_the_last_ones():
    buffer = ReplayBuffer(5)

    def steps(*numbers):
        column = torch.tensor(numbers, dtype=torch.float32)
        return Transitions(column.unsqueeze(1), column.long(), column, column.unsqueeze(1), column > 3)

    buffer.add(steps(0, 1, 2))
    assert len(buffer) == 3
    buffer.add(steps(3, 4, 5, 6))
    assert len(buffer) == 5
    drawn = buffer.sample(5000, generator=torch.Generator().manual_seed(0))
    assert sorted(set(drawn.rewards.tolist())) == [2, 3, 4, 5, 6]
    counts = torch.bincount(drawn.actions)[2:]
    assert ((counts - 1000).abs() < 4 * (5000 * 0.2 * 0.8) ** 0.5).all()  # each as often, to 4 standard errors
    assert torch.equal(drawn.observations[:, 0], drawn.rewards)
    assert torch.equal(drawn.terminated, drawn.rewards > 3)
    buffer.add(steps(*range(10, 22)))  # more than fit
    assert sorted(set(buffer.sample(500, generator=torch.Generator().manual_seed(0)).actions.tolist())) == [
        17,
        18,
        19,
        20,
        21,
    ]


def test_dqn_reports_and_repeats_itself():
    pytest.importorskip("gymnasium")
    settings = {"steps": 400, "seed": 0, "num_envs": 2, "rollout_length": 20, "updates": 3, "warm_up": 100, "period": 4}
    one, again = dqn("CartPole-v1", **settings), dqn("CartPole-v1", **settings, double=False)
    double = dqn("CartPole-v1", **settings, double=True)
    assert fingerprint(one.policy) == fingerprint(again.policy) != fingerprint(double.policy)
    assert one.column("updates") == [3.0 * (i + 1) for i in range(len(one.rows))]
    assert one.column("epsilon")[-1] == 0.04
    assert one.column("environment_steps")[0] >= 100


def test_conservatism_keeps_to_what_the_data_shows():
    """The data never does action 1, and an optimistic start says it is good: only CQL is not taken in."""
    g = torch.Generator().manual_seed(0)
    seen, after = torch.randn(2, 400, 2, generator=g)
    data = Transitions(seen, torch.zeros(400).long(), torch.zeros(400), after, torch.zeros(400).bool())
    choices = {}
    for conservative in (0.0, 1.0):
        learned = cql(data, num_actions=2, steps=150, seed=3, conservative=conservative, hidden=(16,))
        choices[conservative] = learned.policy.act(seen).double().mean().item()
    assert choices[1.0] < 0.05
    assert choices[0.0] > 0.1
    assert learned.column("updates")[-1] == 150
    assert learned.column("conservative_gap")[-1] < learned.column("conservative_gap")[0]


def test_bad_input_is_named():
    network = QNetwork(2, 2, hidden=(4,))
    for options, message in (
        ({"gamma": 1.0}, r"gamma must lie in \[0, 1\), got 1.0"),
        ({"conservative": -1.0}, "conservative must be 0 or more, got -1.0"),
        ({"period": 0}, "period must be at least 1 update, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            QLearning(network, **options)
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        ReplayBuffer(0)
    with pytest.raises(ValueError, match="the replay buffer is empty"):
        ReplayBuffer(3).sample(2, generator=torch.Generator())
    buffer = ReplayBuffer(3)
    buffer.add(Transitions(*(torch.zeros(0) for _ in range(5))))
    with pytest.raises(ValueError, match="the replay buffer is empty"):
        buffer.sample(2, generator=torch.Generator())
    good = Transitions(
        torch.zeros(4, 2), torch.zeros(4).long(), torch.zeros(4), torch.zeros(4, 2), torch.zeros(4).bool()
    )
    for wrong in ({"rewards": torch.zeros(4, 1)}, {"terminated": torch.zeros(4, 1).bool()}):
        with pytest.raises(ValueError, match=r"one for each row, \(4,\), got .*\(4, 1\).*would broadcast"):
            QLearning(network)(network, good._replace(**wrong))
    with pytest.raises(ValueError, match="warm_up must lie from 0 to steps, or nothing is learnt, got 1000 of 300"):
        dqn("CartPole-v1", steps=300, seed=0)
    with pytest.raises(ValueError, match="updates must be at least 1, got 0"):
        dqn("CartPole-v1", steps=10, seed=0, updates=0)
    with pytest.raises(ValueError, match="0 <= last_epsilon <= first_epsilon <= 1"):
        dqn("CartPole-v1", steps=10, seed=0, first_epsilon=0.01)
    rows = torch.zeros(4)
    data = Transitions(torch.zeros(4, 2), torch.full((4,), 2), rows, torch.zeros(4, 2), rows.bool())
    with pytest.raises(ValueError, match=r"actions must be int64 from 0 to 1, got torch.int64 from 2 to 2"):
        cql(data, num_actions=2, steps=5, seed=0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        cql(data, num_actions=3, steps=0, seed=0)
