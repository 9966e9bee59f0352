"""The best policy under a reward and a KL penalty, written down: what PPO climbs towards and DPO starts from."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import check_positive, check_same_shape

# Shape letters used in this file: K = completions that there are, "..." = prompts.


def optimal_policy(reference: Tensor, rewards: Tensor, *, beta: float) -> Tensor:
    """Return ``reference * exp(rewards / beta) / Z``: where expected reward minus ``beta`` KL is largest.

    Every completion's probability is tilted by its reward. A completion that the reference never writes stays
    impossible: the penalty can raise and lower, not create.

    Args:
        reference: Probability of each completion under the reference.
        rewards: Of each completion.
        beta: What a nat of ``KL(policy || reference)`` costs, in units of reward. Towards 0 all probability goes to
            the best completion, towards infinity nothing moves.

    Shape:
        - reference, rewards, output: ``(..., K)``, floating point; probabilities sum to 1 over K

    Returns:
        Probabilities.

    Raises:
        ValueError: If shapes differ, ``beta`` is not positive, or ``reference`` is no distribution.

    Example:
        >>> reference, rewards = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        >>> optimal_policy(reference, rewards, beta=1.0)  # e to 1
        tensor([0.7311, 0.2689])

    Reference: Rafailov et al. 2023, eq. 4 and appendix A.1, https://arxiv.org/abs/2305.18290
    """
    check_positive("beta", beta)
    check_same_shape(reference=reference, rewards=rewards)
    _check_distribution("reference", reference)
    return (reference.log() + rewards / beta).softmax(-1)


def regularised_reward(policy: Tensor, reference: Tensor, rewards: Tensor, *, beta: float) -> Tensor:
    """Return ``E_policy[rewards] - beta * KL(policy || reference)``: what RLHF maximises.

    It equals ``beta log Z - beta KL(policy || optimal_policy)``, so its greatest value is ``beta log Z`` with
    ``Z = sum(reference * exp(rewards / beta))``, reached at `optimal_policy` and nowhere else.

    Args:
        policy: Probability of each completion.
        reference: The same under the reference.
        rewards: Of each completion.
        beta: What a nat of divergence costs.

    Shape:
        - policy, reference, rewards: ``(..., K)``; output: ``(...)``

    Returns:
        In units of reward; ``-inf`` if the policy writes what the reference never does.

    Raises:
        ValueError: If shapes differ, ``beta`` is not positive, or a policy is no distribution.

    Example:
        >>> uniform = torch.tensor([0.5, 0.5])
        >>> regularised_reward(uniform, uniform, torch.tensor([1.0, 0.0]), beta=1.0)
        tensor(0.5000)

    Reference: Rafailov et al. 2023, eq. 3, https://arxiv.org/abs/2305.18290
    """
    check_positive("beta", beta)
    check_same_shape(policy=policy, reference=reference, rewards=rewards)
    _check_distribution("policy", policy)
    _check_distribution("reference", reference)
    kl = torch.xlogy(policy, policy) - torch.where(policy > 0, policy * reference.log(), 0.0)
    return (policy * rewards).sum(-1) - beta * kl.sum(-1)


def _check_distribution(name: str, probabilities: Tensor) -> None:
    total = probabilities.detach().sum(-1)
    if not (probabilities.detach() >= 0).all() or not torch.allclose(total, torch.ones_like(total), atol=1e-5):
        raise ValueError(f"{name} must be probabilities that sum to 1 along the last axis, got sums {total.tolist()}.")
