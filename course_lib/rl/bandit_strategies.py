"""How to play a bandit: mostly the best so far, the most promising, or as likely as it is the best."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from course_lib.losses.conventions import check_positive
from course_lib.rl.bandits import Strategy

# Shape letters used in this file: K = arms, R = runs side by side.


def epsilon_greedy(epsilon: float = 0.1) -> Strategy:
    """Return the strategy: the arm with the best mean so far, but with probability ``epsilon`` any one.

    It never stops exploring, so its regret grows with every pull, by ``epsilon`` times what a random arm costs.

    Args:
        epsilon: From 0 to 1. With 0 it may stay with a bad arm for ever.

    Returns:
        A strategy for `play_bandit`. Arms never pulled come first; ties go to one at random.

    Raises:
        ValueError: If ``epsilon`` is no probability.

    Example:
        >>> counts, sums = torch.tensor([[10.0, 10.0]]), torch.tensor([[2.0, 7.0]])
        >>> epsilon_greedy(0.0)(counts, sums, torch.Generator())
        tensor([1])
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must lie in [0, 1], got {epsilon}.")

    def strategy(counts: Tensor, sums: Tensor, generator: torch.Generator) -> Tensor:
        best = _best(_means(counts, sums), generator)
        anything = torch.randint(counts.shape[1], best.shape, generator=generator)
        explores = torch.rand(best.shape, generator=generator) < epsilon
        return torch.where(explores, anything, best)

    return strategy


def ucb1(exploration: float = 2.0) -> Strategy:
    """Return the strategy: the arm with the largest ``mean + sqrt(exploration * ln t / count)``.

    Optimism: an arm is thought to be as good as it might still be. If that is wrong, pulling it shows so.

    Args:
        exploration: How wide "might be" is; 2 is what the theorem for rewards from 0 to 1 has.

    Returns:
        A strategy for `play_bandit`; ``t`` is the number of pulls so far. Arms never pulled come first.

    Raises:
        ValueError: If ``exploration`` is not positive and finite.

    Example:
        >>> counts, sums = torch.tensor([[100.0, 1.0]]), torch.tensor([[50.0, 0.0]])
        >>> ucb1()(counts, sums, torch.Generator())  # 0.5 + 0.3 against 0 + 3.0
        tensor([1])

    Reference: Auer, Cesa-Bianchi and Fischer 2002, Finite-time analysis of the multiarmed bandit problem, figure 1
    """
    check_positive("exploration", exploration)

    def strategy(counts: Tensor, sums: Tensor, generator: torch.Generator) -> Tensor:
        pulls = counts.sum(1, keepdim=True).clamp(min=1)
        width = (exploration * pulls.log() / counts.clamp(min=1)).sqrt()
        return _best(_means(counts, sums) + width, generator)

    return strategy


def thompson_bernoulli(successes: float = 1.0, failures: float = 1.0) -> Strategy:
    """Return the strategy: draw each arm's mean from what is believed of it, and pull the arm that drew the best.

    So an arm is pulled as often as it is believed to be the best. Rewards are 0 or 1, beliefs Beta distributions.

    Args:
        successes: Of the belief before the first pull; 1 and 1 is: all means are as likely.
        failures: Of the same.

    Raises:
        ValueError: If either is not positive and finite; while playing, if rewards are not from 0 to 1.

    Example:
        >>> counts, sums = torch.tensor([[1000.0, 1000.0]]), torch.tensor([[200.0, 700.0]])
        >>> thompson_bernoulli()(counts, sums, torch.Generator().manual_seed(0))
        tensor([1])

    Reference: Thompson 1933, On the likelihood that one unknown probability exceeds another in view of the evidence of
    two samples; Chapelle and Li 2011, An empirical evaluation of Thompson sampling
    """
    check_positive("successes", successes)
    check_positive("failures", failures)

    def strategy(counts: Tensor, sums: Tensor, generator: torch.Generator) -> Tensor:
        if bool(((sums < 0) | (sums > counts)).any()):
            raise ValueError("thompson_bernoulli takes rewards of 0 or 1: use thompson_gaussian for others.")
        seed = int(torch.randint(2**62, (), generator=generator))  # torch's own Beta takes no generator
        draws = np.random.default_rng(seed).beta((sums + successes).numpy(), (counts - sums + failures).numpy())
        return torch.from_numpy(draws).argmax(1)

    return strategy


def thompson_gaussian(std: float = 1.0, prior_std: float = 1.0) -> Strategy:
    """Return Thompson's strategy for rewards with Gaussian noise.

    Args:
        std: Of the noise, known.
        prior_std: Of the arms' means, believed to lie around 0 before the first pull.

    Raises:
        ValueError: If either is not positive and finite.

    Example:
        >>> counts, sums = torch.tensor([[1000.0, 1000.0]]), torch.tensor([[-500.0, 700.0]])
        >>> thompson_gaussian()(counts, sums, torch.Generator().manual_seed(0))
        tensor([1])
    """
    check_positive("std", std)
    check_positive("prior_std", prior_std)

    def strategy(counts: Tensor, sums: Tensor, generator: torch.Generator) -> Tensor:
        precision = 1 / prior_std**2 + counts / std**2
        noise = torch.randn(counts.shape, generator=generator, dtype=counts.dtype)
        return (sums / std**2 / precision + noise / precision.sqrt()).argmax(1)

    return strategy


def _means(counts: Tensor, sums: Tensor) -> Tensor:
    """Mean reward of each arm so far; infinite where it was never pulled, so that each is tried once."""
    return torch.where(counts > 0, sums / counts.clamp(min=1), math.inf)


def _best(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Index of the largest score in each row, one of them at random where several are."""
    tied = scores == scores.max(1, keepdim=True).values
    return torch.multinomial(tied.double(), 1, generator=generator).squeeze(1)
