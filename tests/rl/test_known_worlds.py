"""Known worlds: planning against linear systems, gridworlds drawn, tables learnt by acting, messages."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.rl import MDP, action_values, gridworld, policy_values, q_learning, sarsa, value_iteration

CLIFF = ["............", "............", "............", "SCCCCCCCCCCG"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, 0.99])
def test_value_iteration_agrees_with_the_linear_solution(random_mdp, seed, gamma):
    mdp = random_mdp(seed, gamma)
    solution = value_iteration(mdp)
    exact = policy_values(mdp, solution.policy)
    assert_close(solution.values, exact, rtol=0, atol=1e-8)
    assert_close(solution.action_values.max(1).values, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_the_tolerance_is_kept(gamma):
    """A step that gives 1 for ever is worth 1 / (1 - gamma); stopped early, the error is just within what was asked."""
    for_ever = MDP(
        torch.ones(1, 1, 1), torch.ones(1, 1), start=torch.ones(1), terminal=torch.tensor([False]), gamma=gamma
    )
    error = 1 / (1 - gamma) - value_iteration(for_ever, tolerance=0.1).values.item()
    assert gamma * 0.1 * 0.999 < error <= 0.1


@pytest.mark.parametrize("seed", range(3))
def test_no_policy_is_better(random_mdp, seed):
    """All 3^4 deterministic policies of four states that are not over: none beats the solution anywhere."""
    mdp = random_mdp(seed)
    best = value_iteration(mdp).values
    choices = torch.cartesian_prod(*[torch.arange(3)] * 4)
    values = torch.stack([policy_values(mdp, torch.cat([choice, torch.zeros(1).long()])) for choice in choices])
    assert_close(values.max(0).values, best, rtol=0, atol=1e-8)


def test_policy_values_are_the_sum_over_time(random_mdp):
    """The linear system against 2,000 steps of the chain, rewards discounted one by one."""
    mdp = random_mdp(0, gamma=0.95)
    policy = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double().softmax(-1)
    chain, rewards = torch.einsum("sa,sat->st", policy, mdp.transitions), (policy * mdp.rewards).sum(1)
    total, where = torch.zeros(5).double(), torch.eye(5).double()
    for t in range(2000):
        total += 0.95**t * where @ rewards
        where = where @ chain
    assert_close(policy_values(mdp, policy), total, rtol=1e-10, atol=1e-10)


def test_a_policy_as_actions_and_as_probabilities_is_the_same(random_mdp):
    mdp, actions = random_mdp(0), torch.tensor([0, 2, 1, 0, 0])
    assert_close(policy_values(mdp, actions), policy_values(mdp, torch.eye(3)[actions]), rtol=0, atol=0)


def test_values_by_thought():
    """Three moves to the goal, each costs 1; at gamma 1/2: -1.75, -1.5, -1. Off the way one move is lost."""
    corridor = gridworld("S..G", gamma=0.5).mdp
    solution = value_iteration(corridor)
    assert solution.values.tolist() == [-1.75, -1.5, -1.0, 0.0]
    assert solution.policy[:3].tolist() == [1, 1, 1]
    assert solution.action_values[0].tolist() == [-1.875, -1.75, -1.875, -1.875]


def test_an_end_is_worth_nothing_whatever_is_said_of_it():
    table = torch.full((2, 1, 2), 0.5)
    mdp = MDP(table, torch.ones(2, 1), start=torch.eye(2)[0], terminal=torch.tensor([False, True]), gamma=1.0)
    assert policy_values(mdp, torch.zeros(2).long()).tolist() == [2.0, 0.0]  # 1 + 1/2 + 1/4 + ...
    assert action_values(mdp, torch.tensor([0.0, 99.0])).tolist() == [[1.0], [0.0]]


def test_shifted_rewards_shift_values(random_mdp):
    """In a world without an end, 1 more a step is 1 / (1 - gamma) more everywhere, and the same policy."""
    mdp = random_mdp(0)
    never = torch.zeros(5).bool()
    g = torch.Generator().manual_seed(1)
    rewards = torch.randn(5, 3, generator=g).double()
    transitions = torch.rand(5, 3, 5, generator=g).double().softmax(-1)
    one, other = (
        value_iteration(MDP(transitions, rewards + more, start=mdp.start, terminal=never, gamma=0.9)) for more in (0, 1)
    )
    assert_close(other.values, one.values + 10, rtol=0, atol=1e-8)
    assert torch.equal(one.policy, other.policy)


def test_slipping_goes_to_both_sides():
    world = gridworld(["...", ".S.", "..."], slip=0.2)
    middle = world.cells.index((1, 1))
    east = world.mdp.transitions[middle, 1]
    expected = {(1, 2): 0.8, (0, 1): 0.1, (2, 1): 0.1}
    assert {cell: round(p, 12) for cell, p in zip(world.cells, east.tolist(), strict=True) if p} == expected


def test_walls_and_borders_hold_one_back():
    world = gridworld(["S#G", "..."])
    assert world.cells == ((0, 0), (0, 2), (1, 0), (1, 1), (1, 2))
    assert world.mdp.transitions[0].argmax(-1).tolist() == [0, 0, 2, 0]  # north, east, south, west
    assert value_iteration(world.mdp).values[0].item() == pytest.approx(-(1 + 0.95 + 0.95**2 + 0.95**3))


def test_entering_an_end_gives_its_reward_and_starts_are_shared():
    world = gridworld(["S.S", "..C"], rewards={"C": -7.0}, step_reward=-0.5)
    assert world.mdp.start.tolist() == [0.5, 0, 0.5, 0, 0, 0]
    assert world.mdp.rewards[2].tolist() == [-0.5, -0.5, -7.5, -0.5]
    assert world.mdp.terminal.tolist() == [False] * 5 + [True]


def test_pictures():
    world = gridworld(["S#G", "..."])
    assert world.arrows(value_iteration(world.mdp).policy) == "v#G\n>>^"
    picture = world.grid(torch.arange(5.0))
    assert picture[:, [0, 2]].tolist() == [[0, 1], [2, 4]]
    assert picture[0, 1].isnan()


def test_q_learning_finds_the_optimum():
    """Every action taken often in a world without chance: the table becomes the exact one, nearly."""
    world = gridworld(["S..", ".#G", "..C"], rewards={"G": 5.0, "C": -5.0}, gamma=0.9).mdp
    learned = q_learning(world, episodes=3000, seed=0, learning_rate=0.5, epsilon=0.6)
    exact = value_iteration(world)
    alive = ~world.terminal
    assert_close(learned.action_values[alive], exact.action_values[alive], rtol=0, atol=1e-4)


def test_by_the_cliff_sarsa_keeps_away_and_q_learning_does_not():
    """Sutton and Barto, example 6.6: Q-learning learns the shortest way, SARSA earns more while it explores."""
    world = gridworld(CLIFF, rewards={"C": -100.0}, gamma=1.0)
    settings = {"episodes": 500, "learning_rate": 0.5, "epsilon": 0.1}
    q, s = (
        torch.stack([learn(world.mdp, seed=seed, **settings).returns[-300:].mean() for seed in range(3)])
        for learn in (q_learning, sarsa)
    )
    assert s.mean() > q.mean() + 5
    greedy = q_learning(world.mdp, seed=0, **settings).policy
    assert world.arrows(greedy).split("\n")[2] == ">" * 11 + "v"  # along the edge


def test_sarsa_learns_the_values_of_the_policy_that_acts():
    """All random: the table is the exact one of the uniform policy."""
    world = gridworld("S.G", gamma=0.8).mdp
    learned = sarsa(world, episodes=4000, seed=0, learning_rate=0.02, epsilon=1.0)
    exact = action_values(world, policy_values(world, torch.full((3, 4), 0.25)))
    assert_close(learned.action_values[:2], exact[:2], rtol=0, atol=0.25)
    greedy = value_iteration(world).action_values[:2]
    assert (learned.action_values[:2] - greedy).abs().max() > 1.0  # and not the best one's


def test_an_episode_is_cut_off_without_a_value_lost():
    world = gridworld("S.#G", gamma=0.5, step_reward=1.0).mdp  # the goal cannot be reached
    learned = q_learning(world, episodes=300, seed=0, epsilon=0.5, max_steps=20)
    assert learned.lengths.eq(20).all()
    assert learned.returns.eq(20.0).all()
    assert_close(learned.action_values[:2], torch.full((2, 4), 2.0).double(), rtol=0, atol=1e-3)  # 1 + 1/2 + 1/4 + ...


@pytest.mark.parametrize("seed", range(5))
def test_rounding_does_not_hide_that_a_policy_never_ends(seed):
    """Four states among themselves for ever: in float64 the linear system is only nearly singular."""
    transitions = torch.zeros(6, 1, 6).double()
    transitions[:4, 0, :4] = torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)).double().softmax(-1)
    transitions[4:, 0, 5] = 1.0
    parts = {"start": torch.eye(6)[0], "terminal": torch.arange(6) == 5}
    with pytest.raises(ValueError, match="never reaches an end"):
        policy_values(MDP(transitions, torch.ones(6, 1), gamma=1.0, **parts), torch.zeros(6).long())
    endless = policy_values(MDP(transitions, torch.ones(6, 1), gamma=0.5, **parts), torch.zeros(6).long())
    assert_close(endless, torch.tensor([2.0, 2, 2, 2, 1, 0]).double(), rtol=0, atol=1e-12)


def test_bad_input_is_named(random_mdp):
    good = {"start": torch.eye(2)[0], "terminal": torch.zeros(2).bool(), "gamma": 0.9}
    table, rewards = torch.full((2, 3, 2), 0.5), torch.zeros(2, 3)
    for arguments, options, message in (
        ((torch.zeros(2, 3), rewards), {}, r"transitions must be \(S, A, S\), got \(2, 3\)"),
        ((table, rewards.T), {}, r"rewards must be \(2, 3\), \(S, A\), got \(3, 2\)"),
        ((table, rewards), {"start": torch.ones(3)}, r"start and terminal must be \(2,\)"),
        ((table, rewards), {"terminal": torch.zeros(2)}, "terminal boolean, got"),
        ((table, rewards), {"gamma": 1.1}, r"gamma must lie in \[0, 1\], got 1.1"),
        ((table * 2, rewards), {}, "transitions must be probabilities that sum to 1"),
        ((table, rewards), {"start": torch.ones(2)}, "start must be probabilities"),
    ):
        with pytest.raises(ValueError, match=message):
            MDP(*arguments, **{**good, **options})
    mdp = random_mdp(0)
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        value_iteration(mdp, tolerance=0.0)
    with pytest.raises(ValueError, match="max_sweeps at least 1, got 1e-10 and 0"):
        value_iteration(mdp, max_sweeps=0)
    with pytest.raises(ValueError, match="after 3 sweeps"):
        value_iteration(mdp, max_sweeps=3)
    with pytest.raises(ValueError, match=r"values must be \(5,\)"):
        action_values(mdp, torch.zeros(4))
    for policy, message in (
        (torch.full((5,), 3), "actions must be from 0 to 2, got up to 3"),
        (torch.ones(5), r"\(5,\) or \(5, 3\); got torch.float32 \(5,\)"),
        (torch.ones(5, 3), "sum to 1: apply softmax"),
    ):
        with pytest.raises(ValueError, match=message):
            policy_values(mdp, policy)
    stuck = gridworld("S.G", gamma=1.0).mdp
    with pytest.raises(ValueError, match="never reaches an end"):
        policy_values(stuck, torch.zeros(3).long())
    for drawing, options, message in (
        (["S.", "..."], {}, r"equally long, got \[2, 3\]"),
        (["..G"], {}, "needs an S"),
        (["S.G"], {"slip": 1.5}, r"slip must lie in \[0, 1\]"),
        (["S.G"], {"rewards": {"C": 1.0}}, r"names \['C'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            gridworld(drawing, **options)
    for options, message in (
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"max_steps": 0}, "max_steps must be"),
        ({"learning_rate": 0.0}, "0 < learning_rate <= 1"),
        ({"epsilon": 2.0}, "0 <= epsilon <= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            q_learning(mdp, **{"episodes": 1, "seed": 0, **options})
