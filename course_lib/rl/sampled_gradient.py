"""REINFORCE in a known world: episodes drawn from it, and the policy gradient that each of them suggests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.rl.advantages import discounted_returns
from course_lib.rl.mdp import MDP

# Shape letters used in this file: S = states, A = actions, E = episodes, H = horizon.


@dataclass(frozen=True, slots=True, eq=False)
class Episodes:
    """``E`` episodes of at most ``H`` steps, drawn independently.

    Args:
        states: Before each action.
        actions: What was done.
        rewards: What it gave.
        valid: Whether the episode was still on.

    Shape:
        - all: ``(E, H)``; states, actions: int64; rewards: float64; valid: bool
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    valid: Tensor


def sample_episodes(
    mdp: MDP, logits: Tensor, *, num_episodes: int, horizon: int, generator: torch.Generator
) -> Episodes:
    """Draw episodes of the softmax policy, all side by side.

    Args:
        mdp: The world.
        logits: Of the policy.
        num_episodes: How many.
        horizon: Most steps of an episode.
        generator: Of everything that is random.

    Shape:
        - logits: ``(S, A)``

    Raises:
        ValueError: If there is nothing to draw.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> g = torch.Generator().manual_seed(0)
        >>> episodes = sample_episodes(gridworld("S.G").mdp, torch.zeros(3, 4), num_episodes=5, horizon=7, generator=g)
        >>> episodes.rewards.shape
        torch.Size([5, 7])
    """
    if num_episodes < 1 or horizon < 1:
        raise ValueError(f"num_episodes and horizon must be at least 1, got {num_episodes} and {horizon}.")
    policy = logits.detach().double().softmax(-1)
    state = torch.multinomial(mdp.start, num_episodes, replacement=True, generator=generator)
    steps: list[tuple[Tensor, ...]] = []
    for _ in range(horizon):
        action = torch.multinomial(policy[state], 1, generator=generator).squeeze(1)
        steps.append((state, action, mdp.rewards[state, action], ~mdp.terminal[state]))
        state = torch.multinomial(mdp.transitions[state, action], 1, generator=generator).squeeze(1)
    return Episodes(*(torch.stack(column, 1) for column in zip(*steps, strict=True)))


def reinforce_gradients(logits: Tensor, episodes: Episodes, *, gamma: float, baseline: Tensor | None = None) -> Tensor:
    """Return REINFORCE's estimate from each episode alone: ``sum_t grad log pi(a_t | s_t) gamma^t (G_t - b(s_t))``.

    Their mean is what an update follows; how they scatter is its variance. The baseline takes away what would have come
    whatever the action was: the mean stays, because ``grad log pi`` is 0 on average, and the scatter falls.

    Args:
        logits: Of the softmax policy that drew the episodes.
        episodes: From `sample_episodes`.
        gamma: Discount.
        baseline: One number for each state, such as its value; 0 by default.

    Shape:
        - logits: ``(S, A)``; baseline: ``(S,)``; output: ``(E, S, A)``, float64

    Example:
        >>> from course_lib.rl.exact_gradient import exact_policy_gradient
        >>> from course_lib.rl.gridworld import gridworld
        >>> world, logits = gridworld("SG", step_reward=0.0, rewards={"G": 8.0}).mdp, torch.zeros(2, 4)
        >>> g = torch.Generator().manual_seed(0)
        >>> episodes = sample_episodes(world, logits, num_episodes=20_000, horizon=1, generator=g)
        >>> estimate = reinforce_gradients(logits, episodes, gamma=world.gamma).mean(0)
        >>> torch.allclose(estimate, exact_policy_gradient(logits, world, horizon=1), atol=0.05)
        True

    Reference: Williams 1992, Simple statistical gradient-following algorithms for connectionist reinforcement learning
    """
    policy = logits.detach().double().softmax(-1)
    num_episodes, horizon = episodes.rewards.shape
    never = torch.zeros(horizon, num_episodes, dtype=torch.bool)
    to_come = discounted_returns((episodes.rewards * episodes.valid).T, never, gamma=gamma).T
    if baseline is not None:
        to_come = to_come - baseline.double()[episodes.states]
    discount = gamma ** torch.arange(horizon, dtype=torch.float64)
    weights = to_come * discount * episodes.valid
    scores = torch.eye(policy.shape[1], dtype=torch.float64)[episodes.actions] - policy[episodes.states]  # (E, H, A)
    gradients = torch.zeros(num_episodes, *policy.shape, dtype=torch.float64)
    places = episodes.states.unsqueeze(-1).expand_as(scores)
    return gradients.scatter_add_(1, places, weights.unsqueeze(-1) * scores)
