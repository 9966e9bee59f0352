"""DPO and IPO: the closed-form optimum turned round, so that a policy learns from pairs without a reward model."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened

# Shape letters used in this file: N = pairs, "..." = any shape.


def implicit_reward(policy: Tensor, reference: Tensor, *, beta: float = 0.1) -> Tensor:
    """Return ``beta * (policy - reference)``: the reward for which the policy would be the best one.

    The best policy under a reward r with a KL penalty beta is ``reference * exp(r / beta) / Z(prompt)``; solved for r
    that is this, up to ``beta log Z``, which is the same for all completions of a prompt. So differences between two
    completions of one prompt mean something, values by themselves and differences between prompts do not.

    Args:
        policy: Log-probability of each completion (summed over its tokens) under the policy that learns.
        reference: The same under the frozen policy it started from.
        beta: What a nat of divergence from the reference costs, in units of reward.

    Shape:
        - policy, reference, output: ``(...)``, one shape

    Returns:
        0 where the two agree, above it where the policy has become likelier.

    Raises:
        ValueError: If shapes differ, dtypes are not floating point or ``beta`` is not positive.

    Example:
        >>> import torch
        >>> implicit_reward(torch.tensor([-9.0, -15.0]), torch.tensor([-10.0, -10.0]), beta=0.5)
        tensor([ 0.5000, -2.5000])

    Reference: Rafailov et al. 2023, Direct preference optimization: your language model is secretly a reward model,
    eq. 5, https://arxiv.org/abs/2305.18290
    """
    check_positive("beta", beta)
    check_same_shape(policy=policy, reference=reference)
    return beta * (widened("policy", policy) - widened("reference", reference))


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Bradley-Terry's loss ``-log sigmoid(margin)`` on the margin of two implicit rewards.

    The loss of a reward model, with the policy itself as the reward model: ``margin = implicit_reward(chosen) -
    implicit_reward(rejected)``, in which the unknown constant cancels. Only the margin counts: the loss is as content
    with both completions becoming less likely, if the rejected one falls faster (likelihood displacement).

    Args:
        policy_chosen: Log-probability of the preferred completions, summed over tokens, under the policy that learns.
        policy_rejected: Of the others.
        reference_chosen: Of the preferred ones under the frozen reference.
        reference_rejected: Of the others under the reference.
        beta: How dear it is to leave the reference: the larger, the nearer the optimum lies to it.
        label_smoothing: Probability that a pair is labelled the wrong way round, from 0 to below 0.5; its loss is
            then mixed in ("conservative DPO"), and the margin no longer grows without end.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Shape:
        - the four: ``(N,)`` or any one shape
        - output: ``()``, or that shape for ``"none"``

    Returns:
        ``log(2)`` for a policy that is still the reference, 0 at best (without smoothing). As trl's ``"sigmoid"``.

    Raises:
        ValueError: If shapes differ, dtypes are not floating point, ``beta`` is not positive or ``label_smoothing``
            not in [0, 0.5).

    Example:
        >>> import torch
        >>> chosen, rejected = torch.tensor([-10.0]), torch.tensor([-12.0])
        >>> dpo_loss(chosen, rejected, chosen, rejected)  # the reference itself
        tensor(0.6931)

    Reference: Rafailov et al. 2023, eq. 7, https://arxiv.org/abs/2305.18290; for the smoothing, Mitchell 2023, A note
    on DPO with noisy preferences and relationship to IPO, https://ericmitchell.ai/cdpo.pdf
    """
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be from 0 to below 0.5, where nothing is left, got {label_smoothing}.")
    check_same_shape(
        policy_chosen=policy_chosen,
        policy_rejected=policy_rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    margin = implicit_reward(policy_chosen, reference_chosen, beta=beta) - implicit_reward(
        policy_rejected, reference_rejected, beta=beta
    )
    losses = -F.logsigmoid(margin)
    if label_smoothing > 0:
        losses = (1 - label_smoothing) * losses - label_smoothing * F.logsigmoid(-margin)
    return reduced(losses, reduction)


def ipo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """``(margin - 1 / (2 beta))^2`` where the margin is that of the log-ratios to the reference.

    DPO pushes the margin of a pair that is always decided one way to infinity, however large beta is. IPO asks for a
    margin of ``1 / (2 beta)`` and no more, so the penalty goes on counting when preferences are deterministic.

    Args:
        policy_chosen: Log-probability of the preferred completions under the policy that learns. The paper's are
            summed over tokens; trl's ``"ipo"`` gives the mean over the tokens of each completion instead.
        policy_rejected: Of the others.
        reference_chosen: Of the preferred ones under the frozen reference.
        reference_rejected: Of the others under the reference.
        beta: The paper's tau.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Shape:
        - the four: ``(N,)`` or any one shape
        - output: ``()``, or that shape for ``"none"``

    Returns:
        ``1 / (4 beta^2)`` for a policy that is still the reference, 0 where every margin is ``1 / (2 beta)``.

    Raises:
        ValueError: If shapes differ, dtypes are not floating point or ``beta`` is not positive.

    Example:
        >>> import torch
        >>> reference = torch.tensor([-10.0])
        >>> ipo_loss(reference + 3, reference - 2, reference, reference, beta=0.1)  # a margin of 5 = 1 / 0.2
        tensor(0.)

    Reference: Azar et al. 2023, A general theoretical paradigm to understand learning from human preferences, eq. 17,
    https://arxiv.org/abs/2310.12036
    """
    check_positive("beta", beta)
    check_same_shape(
        policy_chosen=policy_chosen,
        policy_rejected=policy_rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    chosen = widened("policy_chosen", policy_chosen) - widened("reference_chosen", reference_chosen)
    rejected = widened("policy_rejected", policy_rejected) - widened("reference_rejected", reference_rejected)
    return reduced((chosen - rejected - 1 / (2 * beta)).square(), reduction)
