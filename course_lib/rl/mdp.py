"""Markov decision processes with few states: the world as three tables, so that everything can be computed exactly."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

# Shape letters used in this file: S = states, A = actions.


@dataclass(frozen=True, slots=True, eq=False)
class MDP:
    """A world that is known: where each action leads, what it gives, where it begins and where it ends.

    Args:
        transitions: Probability of the next state, given state and action.
        rewards: Expected reward of an action in a state.
        start: Probability of each state at an episode's beginning.
        terminal: States in which an episode is over. They keep to themselves and give nothing, and that is enforced
            here whatever the tables say.
        gamma: Discount, from 0 to 1. With 1 every policy must end, or values are infinite.

    Shape:
        - transitions: ``(S, A, S)``; rewards: ``(S, A)``; start: ``(S,)``; all kept in float64
        - terminal: ``(S,)``, bool

    Raises:
        ValueError: If shapes do not fit, something is no probability distribution, or ``gamma`` is out of range.

    Example:
        >>> stay_or_go = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
        >>> rewards, start, over = torch.tensor([[0.0, 5.0], [0.0, 0.0]]), torch.eye(2)[0], torch.tensor([False, True])
        >>> world = MDP(stay_or_go, rewards, start=start, terminal=over, gamma=0.9)
        >>> world.num_states, world.num_actions
        (2, 2)

    Reference: Sutton and Barto 2018, Reinforcement learning: an introduction, chapter 3
    """

    transitions: Tensor
    rewards: Tensor
    _: KW_ONLY
    start: Tensor
    terminal: Tensor
    gamma: float

    def __post_init__(self) -> None:
        transitions, rewards, start = (
            torch.as_tensor(table, dtype=torch.float64).clone()
            for table in (self.transitions, self.rewards, self.start)
        )
        if transitions.ndim != 3 or transitions.shape[0] != transitions.shape[2]:
            raise ValueError(f"transitions must be (S, A, S), got {tuple(transitions.shape)}.")
        num_states, num_actions, _ = transitions.shape
        if rewards.shape != (num_states, num_actions):
            raise ValueError(f"rewards must be {(num_states, num_actions)}, (S, A), got {tuple(rewards.shape)}.")
        if start.shape != (num_states,) or self.terminal.shape != (num_states,) or self.terminal.dtype != torch.bool:
            raise ValueError(
                f"start and terminal must be ({num_states},), terminal boolean, got {tuple(start.shape)} and "
                f"{self.terminal.dtype} {tuple(self.terminal.shape)}."
            )
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must lie in [0, 1], got {self.gamma}.")
        transitions[self.terminal] = torch.eye(num_states, dtype=torch.float64)[self.terminal].unsqueeze(1)
        rewards[self.terminal] = 0.0
        _check_distribution("transitions", transitions)
        _check_distribution("start", start)
        for name, table in {"transitions": transitions, "rewards": rewards, "start": start}.items():
            object.__setattr__(self, name, table)

    @property
    def num_states(self) -> int:
        """How many states there are."""
        return self.transitions.shape[0]

    @property
    def num_actions(self) -> int:
        """How many actions there are in each state."""
        return self.transitions.shape[1]


def _check_distribution(name: str, probabilities: Tensor) -> None:
    if bool((probabilities < 0).any()) or not torch.allclose(
        probabilities.sum(-1), torch.ones((), dtype=torch.float64), rtol=0, atol=1e-9
    ):
        raise ValueError(
            f"{name} must be probabilities that sum to 1 over the last axis (to 1e-9: build them in float64), "
            f"got sums from {probabilities.sum(-1).min().item():.10g} to {probabilities.sum(-1).max().item():.10g} "
            f"and a least one of {probabilities.min().item():.3g}."
        )
