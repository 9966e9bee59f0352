"""Choosing among several samples: best-of-n and what it costs, rejection sampling, pass@k."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Shape letters used in this file: P = prompts, N = samples of each.


def best_of_n(rewards: Tensor) -> Tensor:
    """Return which of the samples of each prompt has the highest reward.

    The simplest way to use a reward: no training at all, but n samples for one answer.

    Args:
        rewards: Of every sample.

    Shape:
        - rewards: ``(P, N)``
        - output: ``(P,)``, int64 in ``[0, N)``; the first of equal ones

    Raises:
        ValueError: If there are no rewards, or one is not finite: nan would win every comparison.

    Example:
        >>> best_of_n(torch.tensor([[0.1, 0.7, 0.3], [2.0, -1.0, 2.0]]))
        tensor([1, 0])
    """
    _check_rewards("rewards", rewards)
    return rewards.argmax(dim=1)


def best_of_n_curve(rewards: Tensor, gold: Tensor | None = None) -> Tensor:
    """Return what best-of-n can be expected to give for every n from 1 to N, from N samples a prompt.

    The mean over all subsets of n of the samples, without drawing any: of the samples in order of reward, number i is
    the best of ``C(i - 1, n - 1)`` subsets. So one set of samples gives the whole curve, and each point is unbiased;
    the points go by the same samples, so their errors are shared.

    Args:
        rewards: By which the best is chosen.
        gold: What is looked at in the chosen one; by default ``rewards`` themselves. Among samples of equal reward
            each is as likely to be chosen, so their mean counts.

    Shape:
        - rewards, gold: ``(P, N)``
        - output: ``(P, N)``, float64; column n - 1 is best-of-n

    Returns:
        For each prompt: the first column is the mean of its samples, the last its best one. Without ``gold`` it never
        falls along a row; with it, it may: that is over-optimisation.

    Raises:
        ValueError: If the shapes differ, there are no rewards, or one is not finite.

    Example:
        >>> best_of_n_curve(torch.tensor([[0.0, 3.0, 6.0]]))  # pairs: 3, 6 and 6
        tensor([[3., 5., 6.]], dtype=torch.float64)
        >>> best_of_n_curve(torch.tensor([[0.0, 3.0, 6.0]]), torch.tensor([[1.0, 1.0, -2.0]]))
        tensor([[ 0., -1., -2.]], dtype=torch.float64)

    Reference: Hilton and Gao 2022, Measuring Goodhart's law, https://openai.com/index/measuring-goodharts-law/
    """
    gold = rewards if gold is None else gold
    if rewards.shape != gold.shape:
        raise ValueError(f"rewards and gold need one shape, got {tuple(rewards.shape)} and {tuple(gold.shape)}.")
    _check_rewards("rewards", rewards)
    _check_rewards("gold", gold)
    num = rewards.shape[1]
    ordered, order = rewards.sort(dim=1)
    seen = _mean_of_equal(ordered, gold.double().gather(1, order))
    number = torch.arange(1, num + 1, dtype=torch.float64, device=rewards.device)
    # log C(i - 1, n - 1) - log C(N, n): rows i, columns n; where i < n there is no such subset
    log_share = _log_choose(number[:, None] - 1, number - 1) - _log_choose(torch.full_like(number, num), number)
    return seen @ log_share.exp()


def best_of_n_kl(n: int) -> float:
    """Return ``log n - (n - 1) / n``: how far best-of-n is from the model it samples from, in nats of KL.

    An **upper bound**, near as long as no sample is likely to come twice and rewards have no ties. That so few nats buy
    so much reward is what makes best-of-n a strong baseline.

    Raises:
        ValueError: If ``n`` is less than 1.

    Example:
        >>> best_of_n_kl(1), round(best_of_n_kl(16), 2), round(best_of_n_kl(1000), 2)
        (0.0, 1.84, 5.91)

    Reference: Stiennon et al. 2020, appendix G.3, https://arxiv.org/abs/2009.01325; that it is a bound: Beirami et al.
    2024, Theoretical guarantees on the best-of-n alignment policy, https://arxiv.org/abs/2401.01879
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    return math.log(n) - (n - 1) / n


def rejection_sample(rewards: Tensor, *, keep: int = 1, at_least: float = -math.inf) -> Tensor:
    """Return which samples to train on: of each prompt the ``keep`` best, if they are good enough.

    Fine-tuning on them (rejection-sampling fine-tuning, or best-of-n distilled) moves the model itself to where
    best-of-n would choose. With a verifier's rewards, 0 or 1, ``at_least=1`` keeps right answers only.

    Args:
        rewards: Of every sample.
        keep: How many of each prompt at most.
        at_least: What a sample must have besides.

    Shape:
        - rewards: ``(P, N)``
        - output: ``(M, 2)``, int64: prompt and sample, prompts in order, the best first, of equal ones the earlier

    Raises:
        ValueError: If there are no rewards, one is not finite, or ``keep`` is not from 1 to N.

    Example:
        >>> rejection_sample(torch.tensor([[0.1, 0.7, 0.3], [0.2, 0.0, 0.1]]), keep=2, at_least=0.2)
        tensor([[0, 1],
                [0, 2],
                [1, 0]])

    Reference: Touvron et al. 2023, Llama 2, section 3.2.3, https://arxiv.org/abs/2307.09288; Dong et al. 2023, RAFT,
    https://arxiv.org/abs/2304.06767
    """
    _check_rewards("rewards", rewards)
    if not 1 <= keep <= rewards.shape[1]:
        raise ValueError(f"keep must be from 1 to the {rewards.shape[1]} samples of a prompt, got {keep}.")
    best, samples = rewards.sort(dim=1, descending=True, stable=True)
    prompts, places = (best[:, :keep] >= at_least).nonzero(as_tuple=True)
    return torch.stack([prompts, samples[prompts, places]], dim=1)


def pass_at_k(num_right: Tensor, num_samples: int, k: int) -> Tensor:
    """Return how likely at least one of k samples is right, from how many of ``num_samples`` were.

    ``1 - C(n - c, k) / C(n, k)`` with c of n right: the mean over all subsets of k samples, and so unbiased.
    ``1 - (1 - c / n)^k`` is not: it is too low for k > 1.

    Args:
        num_right: How many samples of each problem are right.
        num_samples: How many there are of each.
        k: How many tries.

    Shape:
        - num_right: ``(...)``, integer, from 0 to ``num_samples``
        - output: ``(...)``, float64

    Returns:
        From 0 (none is right) to 1 (fewer than k are wrong); for ``k = 1`` the share that is right.

    Raises:
        ValueError: If ``k`` is not from 1 to ``num_samples``, or ``num_right`` is no count of them.

    Example:
        >>> pass_at_k(torch.tensor([0, 1, 2, 4]), 4, 2)  # 1 - C(3, 2) / C(4, 2) = 1/2, 1 - 1/6
        tensor([0.0000, 0.5000, 0.8333, 1.0000], dtype=torch.float64)

    Reference: Chen et al. 2021, Evaluating large language models trained on code, eq. 1,
    https://arxiv.org/abs/2107.03374
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"k must be from 1 to num_samples, {num_samples}, got {k}: draw more samples.")
    if num_right.is_floating_point() or num_right.dtype == torch.bool:
        raise ValueError(f"num_right must count right samples, as integers, got {num_right.dtype}.")
    if num_right.numel() and (int(num_right.min()) < 0 or int(num_right.max()) > num_samples):
        raise ValueError(
            f"num_right must lie in [0, {num_samples}], got {int(num_right.min())} to {int(num_right.max())}."
        )
    # C(n - c, k) / C(n, k) is the product of 1 - k / i over i = n - c + 1, ..., n: of the first c of these factors
    drawn = torch.arange(num_samples, 0, -1, dtype=torch.float64, device=num_right.device)
    factors = torch.cat([drawn.new_ones(1), (1 - k / drawn).clamp(min=0)])
    return 1 - factors.cumprod(0)[num_right.long()]


def _log_choose(total: Tensor, part: Tensor) -> Tensor:
    """Return ``log C(total, part)``, minus infinity where ``part`` is more than ``total``."""
    rest = total - part
    value = torch.lgamma(total + 1) - torch.lgamma(part + 1) - torch.lgamma(rest.clamp(min=0) + 1)
    return value.masked_fill(rest < 0, -math.inf)


def _mean_of_equal(ordered: Tensor, values: Tensor) -> Tensor:
    """Return ``values`` with those at equal numbers in a row of ``ordered`` replaced by their mean."""
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = new.long().cumsum(dim=1) - 1
    sums = torch.zeros_like(values).scatter_add_(1, group, values)
    counts = torch.zeros_like(values).scatter_add_(1, group, torch.ones_like(values))
    return (sums / counts.clamp(min=1)).gather(1, group)


def _check_rewards(name: str, rewards: Tensor) -> None:
    if rewards.ndim != 2 or rewards.numel() == 0:
        raise ValueError(f"{name} must be (P, N), N samples for each of P prompts, got {tuple(rewards.shape)}.")
    if not rewards.isfinite().all():
        rows = (~rewards.isfinite()).any(dim=1).nonzero().flatten().tolist()
        raise ValueError(f"{name} of prompts {rows[:5]} are not finite: a sample cannot be chosen by them.")
