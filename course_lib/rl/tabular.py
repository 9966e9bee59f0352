"""Learning a table of action values by acting: Q-learning and SARSA. No gradient, no network, no model of the world."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from course_lib.rl.mdp import MDP


@dataclass(frozen=True, slots=True, eq=False)
class TabularResult:
    """A learnt table, and how the learning went.

    Args:
        action_values: What each action is thought to be worth in each state.
        returns: Sum of rewards of each episode, not discounted.
        lengths: Steps of each episode.

    Shape:
        - action_values: ``(S, A)``; returns: ``(E,)``, float64; lengths: ``(E,)``, int64
    """

    action_values: Tensor
    returns: Tensor
    lengths: Tensor

    @property
    def policy(self) -> Tensor:
        """The action thought best in each state, ``(S,)``, int64."""
        return self.action_values.argmax(1)


def q_learning(
    mdp: MDP,
    *,
    episodes: int,
    seed: int,
    learning_rate: float = 0.1,
    epsilon: float = 0.1,
    max_steps: int = 1000,
) -> TabularResult:
    """Learn the best policy's action values while acting otherwise: ``Q += rate * (r + gamma * max Q(next) - Q)``.

    Off-policy: the maximum speaks of acting best from there on, whatever is done next in fact. So the table goes to the
    optimum although one action in ten is random.

    Args:
        mdp: The world; only played in, its tables are not looked at.
        episodes: How many to play.
        seed: Of everything.
        learning_rate: How far each step moves a value, from 0 to 1.
        epsilon: Share of random actions.
        max_steps: An episode that has not ended is cut off; what follows keeps its value.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> corridor = gridworld("S.G", gamma=1.0)
        >>> learned = q_learning(corridor.mdp, episodes=200, seed=0)
        >>> learned.policy[:2].tolist()  # east, east
        [1, 1]

    Reference: Watkins and Dayan 1992, Q-learning; Sutton and Barto 2018, section 6.5
    """
    return _learn(mdp, episodes, seed, learning_rate, epsilon, max_steps, on_policy=False)


def sarsa(
    mdp: MDP,
    *,
    episodes: int,
    seed: int,
    learning_rate: float = 0.1,
    epsilon: float = 0.1,
    max_steps: int = 1000,
) -> TabularResult:
    """Learn the values of the policy that acts, slips included: ``Q += rate * (r + gamma * Q(next, its action) - Q)``.

    On-policy: beside a cliff, where one random step is the last, it learns to keep away; `q_learning` does not.

    Args:
        mdp: As for `q_learning`, like everything else.
        episodes: How many to play.
        seed: Of everything.
        learning_rate: How far each step moves a value.
        epsilon: Share of random actions.
        max_steps: An episode that has not ended is cut off.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> corridor = gridworld("S.G", gamma=1.0)
        >>> sarsa(corridor.mdp, episodes=200, seed=0).lengths[-50:].double().mean() < 3
        tensor(True)

    Reference: Rummery and Niranjan 1994, On-line Q-learning using connectionist systems; Sutton and Barto 2018,
    section 6.4
    """
    return _learn(mdp, episodes, seed, learning_rate, epsilon, max_steps, on_policy=True)


def _learn(
    mdp: MDP, episodes: int, seed: int, learning_rate: float, epsilon: float, max_steps: int, *, on_policy: bool
) -> TabularResult:
    for name, count in {"episodes": episodes, "max_steps": max_steps}.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}.")
    if not 0 < learning_rate <= 1 or not 0 <= epsilon <= 1:
        raise ValueError(f"0 < learning_rate <= 1 and 0 <= epsilon <= 1 must hold, got {learning_rate}, {epsilon}.")
    rng = random.Random(seed)  # single numbers are many times quicker in plain Python than as tensors
    chances = [[list(accumulate(row)) for row in rows] for rows in mdp.transitions.tolist()]
    first, rewards, over = list(accumulate(mdp.start.tolist())), mdp.rewards.tolist(), mdp.terminal.tolist()
    states, actions = range(mdp.num_states), range(mdp.num_actions)
    table = [[0.0] * mdp.num_actions for _ in states]

    def act(state: int) -> int:
        if rng.random() < epsilon:
            return rng.choice(actions)
        values = table[state]
        best = max(values)
        return rng.choice([action for action in actions if values[action] == best])

    returns, lengths = [], []
    for _ in range(episodes):
        state = rng.choices(states, cum_weights=first)[0]
        action = act(state)
        total, length = 0.0, 0
        while not over[state] and length < max_steps:
            reward = rewards[state][action]
            following = rng.choices(states, cum_weights=chances[state][action])[0]
            next_action = act(following)
            future = table[following][next_action] if on_policy else max(table[following])  # 0 at an end: never written
            table[state][action] += learning_rate * (reward + mdp.gamma * future - table[state][action])
            state, action = following, next_action
            total, length = total + reward, length + 1
        returns.append(total)
        lengths.append(length)
    return TabularResult(
        torch.tensor(table, dtype=torch.float64), torch.tensor(returns, dtype=torch.float64), torch.tensor(lengths)
    )
