"""The policy gradient without sampling: every trajectory of a tiny world is visited and weighed by its probability."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.rl.mdp import MDP

MOST = 1_000_000  # trajectories that one may wish to enumerate

# Shape letters used in this file: S = states, A = actions, H = horizon.


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One way in which an episode can go.

    Args:
        states: Those visited before each action.
        actions: What was done in them.
        rewards: Expected reward of each.
        chance: Probability of the world's part: the start and all transitions, given the actions.
    """

    states: tuple[int, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]
    chance: float


def trajectories(mdp: MDP, horizon: int) -> Iterator[Trajectory]:
    """Yield every trajectory of at most ``horizon`` steps that can happen; one ends early in a terminal state.

    Args:
        mdp: A tiny world: there are up to ``(A * S) ** horizon`` of them.
        horizon: Most steps.

    Raises:
        ValueError: If ``horizon`` is less than 1; while iterating, after a million trajectories.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> len(list(trajectories(gridworld("SG").mdp, 2)))  # east at once, or something else and then any of four
        13
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}.")
    return _trajectories(mdp, horizon)


def _trajectories(mdp: MDP, horizon: int) -> Iterator[Trajectory]:
    chances, rewards, over = mdp.transitions.tolist(), mdp.rewards.tolist(), mdp.terminal.tolist()
    begun = [(Trajectory((), (), (), chance), state) for state, chance in enumerate(mdp.start.tolist()) if chance > 0]
    found = 0
    while begun:
        past, state = begun.pop()
        if over[state] or len(past.actions) == horizon:
            found += 1
            if found > MOST:
                raise ValueError(f"there are more than {MOST:,} trajectories: take a smaller world or horizon.")
            yield past
            continue
        for action in range(mdp.num_actions):
            states, actions = (*past.states, state), (*past.actions, action)
            gained = (*past.rewards, rewards[state][action])
            for following, chance in enumerate(chances[state][action]):
                if chance > 0:
                    begun.append((Trajectory(states, actions, gained, past.chance * chance), following))


def expected_return(logits: Tensor, mdp: MDP, *, horizon: int) -> Tensor:
    """Return the expected discounted return of the softmax policy, as a sum over all trajectories.

    Differentiable: its gradient in ``logits`` is the policy gradient, with no estimate in it.

    Args:
        logits: Of the policy, ``pi(a | s) = softmax(logits[s])[a]``.
        mdp: A tiny world.
        horizon: Most steps of an episode.

    Shape:
        - logits: ``(S, A)``; output: ``()``

    Raises:
        ValueError: If the logits have another shape.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> world = gridworld("SG", step_reward=0.0, rewards={"G": 8.0}, gamma=0.5)
        >>> expected_return(torch.zeros(2, 4), world.mdp, horizon=2)  # 8 / 4, and 4 / 4 of the other 3 / 4
        tensor(2.7500, dtype=torch.float64)
    """
    _check_logits(logits, mdp)
    log_policy = logits.double().log_softmax(-1)
    total = torch.zeros((), dtype=torch.float64)
    for one in trajectories(mdp, horizon):
        log_probability = log_policy[list(one.states), list(one.actions)].sum()
        total = total + one.chance * log_probability.exp() * _discounted(one.rewards, mdp.gamma)
    return total


def exact_policy_gradient(logits: Tensor, mdp: MDP, *, horizon: int) -> Tensor:
    """Return the policy gradient theorem's right-hand side exactly: ``E[sum_t grad log pi(a_t | s_t) gamma^t G_t]``.

    What REINFORCE estimates from episodes (`reinforce_gradients`), here summed over all of them. ``G_t`` is the
    discounted return from step t on.

    Args:
        logits: Of the softmax policy.
        mdp: A tiny world.
        horizon: Most steps of an episode.

    Shape:
        - logits, output: ``(S, A)``

    Returns:
        The gradient of `expected_return`. Each row sums to 0: raising all logits of a state changes nothing.

    Raises:
        ValueError: If the logits have another shape.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> world = gridworld("SG", step_reward=0.0, rewards={"G": 8.0})
        >>> exact_policy_gradient(torch.zeros(2, 4), world.mdp, horizon=1)[0]  # north, east, south, west
        tensor([-0.5000,  1.5000, -0.5000, -0.5000], dtype=torch.float64)

    Reference: Williams 1992; Sutton, McAllester, Singh and Mansour 2000, Policy gradient methods for reinforcement
    learning with function approximation, theorem 1
    """
    _check_logits(logits, mdp)
    policy = logits.detach().double().softmax(-1)
    chances, scores = policy.tolist(), torch.eye(mdp.num_actions, dtype=torch.float64) - policy.unsqueeze(1)
    gradient = torch.zeros(mdp.num_states, mdp.num_actions, dtype=torch.float64)
    for one in trajectories(mdp, horizon):
        probability = one.chance * math.prod(chances[s][a] for s, a in zip(one.states, one.actions, strict=True))
        for t, (state, action) in enumerate(zip(one.states, one.actions, strict=True)):
            to_come = mdp.gamma**t * _discounted(one.rewards[t:], mdp.gamma)
            gradient[state] += probability * to_come * scores[state, action]  # grad log softmax
    return gradient


def _discounted(rewards: tuple[float, ...], gamma: float) -> float:
    return sum(gamma**t * reward for t, reward in enumerate(rewards))


def _check_logits(logits: Tensor, mdp: MDP) -> None:
    if logits.shape != (mdp.num_states, mdp.num_actions):
        raise ValueError(f"logits must be (S, A), here {(mdp.num_states, mdp.num_actions)}, got {tuple(logits.shape)}.")
