"""From rewards to credit: discounted returns and generalised advantage estimation (GAE)."""

from __future__ import annotations

import torch
from torch import Tensor

# Shape letters used in this file: T = steps, N = environments.


def discounted_returns(rewards: Tensor, done: Tensor, *, gamma: float) -> Tensor:
    """Return what was still to come at each step: ``r_t + gamma r_{t+1} + gamma^2 r_{t+2} + ...`` to the episode's end.

    An episode that is not over at the last step counts as if nothing came after it: use whole episodes, or `gae`.

    Args:
        rewards: What each step gave.
        done: Where an episode ended; nothing flows over such a border.
        gamma: Discount, from 0 to 1.

    Shape:
        - rewards, output: ``(T, N)``, floating point; done: ``(T, N)``, bool

    Raises:
        ValueError: If the shapes differ, rewards are integers, or ``gamma`` is out of range.

    Example:
        >>> rewards = torch.ones(4, 1)
        >>> done = torch.tensor([[False], [True], [False], [False]])
        >>> discounted_returns(rewards, done, gamma=0.5).flatten()
        tensor([1.5000, 1.0000, 1.5000, 1.0000])
    """
    _check(gamma=gamma)
    _check_shapes(rewards, done=done)
    carried, to_come = gamma * (~done).to(rewards.dtype), torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        following = to_come[t] = rewards[t] + carried[t] * following
    return to_come


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float = 0.99,
    lam: float = 0.95,
) -> Tensor:
    """Return by how much each action was better than expected, traded off between bias and variance by ``lam``.

    A step's surprise is ``delta = r + gamma V(next) - V(now)``; the advantage adds up the surprises from here to the
    episode's end, each step further by ``gamma * lam`` less. ``lam=0`` believes the critic after one step (little
    variance, all its bias); ``lam=1`` is the return minus V.

    Where the world ended (``terminated``) nothing follows, so V(next) counts 0. Where a time limit cut the episode off
    (``truncated``) rewards would have followed, so V(next) stays. The sum ends at either.

    Args:
        rewards: What each step gave.
        values: The critic's value of what was seen at each step.
        next_values: Its value of what followed each step, before any reset: at an episode's end that of its last
            observation.
        terminated: Whether the world ended in this step.
        truncated: Whether the episode was cut off in this step.
        gamma: Discount, from 0 to 1.
        lam: From 0 to 1.

    Shape:
        - rewards, values, next_values, output: ``(T, N)``, floating point
        - terminated, truncated: ``(T, N)``, bool

    Returns:
        Advantages; 0 on average for the policy that the values belong to. ``advantages + values`` are the targets of
        the critic (the lambda-returns). Gradients flow through ``values``: detach them for a policy's loss.

    Raises:
        ValueError: If the shapes differ, rewards are integers, or ``gamma`` or ``lam`` is out of range.

    Example:
        >>> one = torch.ones(2, 1)
        >>> no, end = torch.zeros(2, 1, dtype=torch.bool), torch.tensor([[False], [True]])
        >>> gae(one, 5 * one, 7 * one, end, no, gamma=1.0, lam=1.0).flatten()  # 1 + 7 - 5, and 1 + 0 - 5 after it
        tensor([-1., -4.])
        >>> gae(one, 5 * one, 7 * one, no, end, gamma=1.0, lam=1.0).flatten()  # cut off: what follows keeps its value
        tensor([6., 3.])

    Reference: Schulman et al. 2016, High-dimensional continuous control using generalized advantage estimation, eq. 16,
    https://arxiv.org/abs/1506.02438; Pardo et al. 2018, Time limits in reinforcement learning,
    https://arxiv.org/abs/1712.00378 (for truncation)
    """
    _check(gamma=gamma, lam=lam)
    _check_shapes(rewards, values=values, next_values=next_values, terminated=terminated, truncated=truncated)
    surprises = rewards + gamma * next_values.masked_fill(terminated, 0) - values
    carried = gamma * lam * (~(terminated | truncated)).to(rewards.dtype)
    advantages: list[Tensor] = []
    following = torch.zeros_like(surprises[0])
    for surprise, factor in zip(reversed(surprises.unbind()), reversed(carried.unbind()), strict=True):
        following = torch.addcmul(surprise, factor, following)
        advantages.append(following)
    return torch.stack(advantages[::-1])


def _check(**factors: float) -> None:
    for name, value in factors.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}.")


def _check_shapes(rewards: Tensor, **others: Tensor) -> None:
    if rewards.ndim != 2 or len(rewards) < 1:
        raise ValueError(f"rewards must be (T, N) with at least one step, got {tuple(rewards.shape)}.")
    if not rewards.is_floating_point():
        raise ValueError(f"rewards must be floating point, got {rewards.dtype}: use rewards.float().")
    for name, value in others.items():
        if value.shape != rewards.shape:
            raise ValueError(
                f"{name} must have the shape of rewards, {tuple(rewards.shape)}, got {tuple(value.shape)}: "
                "a wrong axis would broadcast."
            )
        if name in ("done", "terminated", "truncated") and value.dtype != torch.bool:
            raise ValueError(f"{name} must be boolean, got {value.dtype}: use {name}.bool().")
