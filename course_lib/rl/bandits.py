"""Bandits: choose among arms of unknown mean, again and again, and count what not knowing costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Kind = Literal["bernoulli", "gaussian"]
Strategy = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Called as ``strategy(counts, sums, generator)``, ``(R, K)`` each; returns the arm to pull in each run, ``(R,)``."""

# Shape letters used in this file: K = arms, R = runs side by side, T = pulls.


@dataclass(frozen=True, slots=True, eq=False)
class Bandit:
    """``K`` arms, each with a mean reward of its own that the player does not know.

    Args:
        means: Mean reward of each arm.
        kind: "bernoulli": a reward is 1 with the arm's mean as probability, else 0; "gaussian": mean plus noise.
        std: Standard deviation of Gaussian noise.

    Shape:
        - means: ``(K,)``; kept in float64

    Raises:
        ValueError: If there are fewer than two arms, a Bernoulli mean is no probability, or ``std`` is not above 0.

    Example:
        >>> bandit = Bandit(torch.tensor([0.2, 0.7]))
        >>> bandit.pull(torch.tensor([1, 1, 0]), torch.Generator().manual_seed(0)).shape
        torch.Size([3])
    """

    means: Tensor
    _: KW_ONLY
    kind: Kind = "bernoulli"
    std: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", torch.as_tensor(self.means, dtype=torch.float64))
        if self.means.ndim != 1 or len(self.means) < 2:
            raise ValueError(f"a bandit needs the means of two or more arms, got shape {tuple(self.means.shape)}.")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {get_args(Kind)}, got {self.kind!r}.")
        if self.kind == "bernoulli" and not bool(((self.means >= 0) & (self.means <= 1)).all()):
            raise ValueError(f"Bernoulli means are probabilities from 0 to 1, got {self.means.tolist()}.")
        if not self.std > 0:
            raise ValueError(f"std must be above 0, got {self.std}.")

    def pull(self, arms: Tensor, generator: torch.Generator) -> Tensor:
        """Return a reward for each of ``arms``, ``(R,)``."""
        means = self.means[arms]
        if self.kind == "bernoulli":
            return (torch.rand(means.shape, generator=generator, dtype=means.dtype) < means).to(means.dtype)
        return means + self.std * torch.randn(means.shape, generator=generator, dtype=means.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class BanditPlays:
    """What was pulled and what it gave, in ``R`` independent runs of ``T`` pulls.

    Args:
        arms: Which arm.
        rewards: What it gave.
        regret: What was lost up to here by not pulling the best arm, **in means**: luck does not count.

    Shape:
        - arms: ``(R, T)``, int64; rewards, regret: ``(R, T)``, float64
    """

    arms: Tensor
    rewards: Tensor
    regret: Tensor


def play_bandit(
    bandit: Bandit, strategy: Strategy, *, num_pulls: int, num_runs: int = 1, generator: torch.Generator
) -> BanditPlays:
    """Let ``strategy`` play ``num_runs`` times from scratch, ``num_pulls`` each.

    Args:
        bandit: What is played.
        strategy: Sees how often each arm was pulled and what it gave in all, nothing else.
        num_pulls: Pulls in a run.
        num_runs: Independent runs, played side by side.
        generator: Of rewards and choices.

    Returns:
        All plays. Regret grows like the number of pulls for a strategy that never stops exploring, or stops too soon,
        and like its logarithm for the best ones; it never falls.

    Raises:
        ValueError: If there is nothing to play.

    Example:
        >>> from course_lib.rl.bandit_strategies import ucb1
        >>> g = torch.Generator().manual_seed(0)
        >>> plays = play_bandit(Bandit(torch.tensor([0.1, 0.9])), ucb1(), num_pulls=500, num_runs=20, generator=g)
        >>> plays.regret[:, -1].mean() < 0.05 * 500 * 0.8  # a few per cent of what the worse arm alone would cost
        tensor(True)

    Reference: Lai and Robbins 1985, Asymptotically efficient adaptive allocation rules (the logarithm)
    """
    if num_pulls < 1 or num_runs < 1:
        raise ValueError(f"num_pulls and num_runs must be at least 1, got {num_pulls} and {num_runs}.")
    counts = torch.zeros(num_runs, len(bandit.means), dtype=torch.float64)
    sums = torch.zeros_like(counts)
    arms, rewards = torch.empty(num_runs, num_pulls, dtype=torch.int64), counts.new_empty(num_runs, num_pulls)
    for t in range(num_pulls):
        arms[:, t] = strategy(counts, sums, generator)
        rewards[:, t] = bandit.pull(arms[:, t], generator)
        counts.scatter_add_(1, arms[:, t : t + 1], torch.ones_like(rewards[:, :1]))
        sums.scatter_add_(1, arms[:, t : t + 1], rewards[:, t : t + 1])
    return BanditPlays(arms, rewards, (bandit.means.max() - bandit.means[arms]).cumsum(1))
