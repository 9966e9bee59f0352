"""PPO's clipped objective: several updates on the same steps, none of which leads too far away."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.rl.policy_gradient import PolicyBatch, check_coefficients, check_rows


def clipped_surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, *, clip: float = 0.2) -> Tensor:
    """Return ``-min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)`` with ``ratio = pi(action) / pi_old(action)``.

    The ratio makes up for the steps being another policy's, as long as that is near. Once an action has become likelier
    by the factor ``1 + clip`` (or, if it was bad, less likely by ``1 - clip``) there is nothing more to gain, so the
    gradient is 0. What went the wrong way is never clipped: the minimum keeps it.

    Args:
        log_probs: Of the actions under the policy that learns.
        old_log_probs: Of the same actions under the policy that took them.
        advantages: How much better than expected they were.
        clip: The greatest change of a ratio that pays; above 0.

    Shape:
        - all, and the output: one shape, one number an action or a token

    Returns:
        One loss each; at ``log_probs == old_log_probs`` it is ``-advantages``, with the policy gradient's gradient.

    Raises:
        ValueError: If the shapes differ or ``clip`` is not above 0.

    Example:
        >>> doubled = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.25]).log()
        >>> clipped_surrogate(*doubled, torch.tensor([1.0, -1.0]), clip=0.25)  # good: capped; bad: felt in full
        tensor([-1.2500,  2.0000])

    Reference: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7, https://arxiv.org/abs/1707.06347
    """
    if not log_probs.shape == old_log_probs.shape == advantages.shape:
        raise ValueError(
            f"clipped_surrogate needs one shape, got log_probs {tuple(log_probs.shape)}, old_log_probs "
            f"{tuple(old_log_probs.shape)}, advantages {tuple(advantages.shape)}."
        )
    if not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip}; 0.1 to 0.3 is usual.")
    log_ratio = log_probs - old_log_probs
    # where it is clipped anyway it must not overflow: the gradient would be 0 times infinity
    ratio = torch.where(advantages < 0, log_ratio, log_ratio.clamp(max=50.0)).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def approximate_kl(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """Return ``ratio - 1 - log(ratio)`` for each action: on average over the old policy's actions KL(old || new).

    Plain ``-log(ratio)`` has the same mean, but single values may be negative and they vary more.

    Args:
        log_probs: Of the actions under the policy that learns.
        old_log_probs: Of the same actions under the policy that took them.

    Shape:
        - both, and the output: one shape

    Returns:
        At least 0 each, 0 where the two agree.

    Example:
        >>> approximate_kl(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())  # 2 - 1 - ln 2
        tensor([0.3069])

    Reference: Schulman 2020, Approximating KL divergence, http://joschu.net/blog/kl-approx.html
    """
    log_ratio = log_probs - old_log_probs
    return log_ratio.expm1() - log_ratio


def ppo_objective(
    *,
    clip: float = 0.2,
    value_clip: float | None = None,
    value_coefficient: float = 0.5,
    entropy_coefficient: float = 0.0,
) -> Objective:
    """Return PPO's objective: the clipped surrogate, the critic's squared error, and an entropy bonus.

    Args:
        clip: See `clipped_surrogate`.
        value_clip: If given, the critic's new value is also tried moved by at most this much from its old one, and the
            worse of the two errors counts. In the first implementation, not in the paper; it rarely helps.
        value_coefficient: How much of the critic's squared error ``(V - returns)^2`` is added (no factor 1/2).
        entropy_coefficient: How much of the policy's entropy is subtracted.

    Shape:
        - batch: a `PolicyBatch`, whose ``log_probs`` and ``values`` are those of the policy that took the steps
        - the model is called as ``model(observations, actions)`` and gives ``log_probs``, ``entropy`` and ``values``

    Returns:
        An objective; ``count`` is the number of steps, and it can be split into micro-batches. (Advantages are
        normalised in the batch, not here: a row's loss would depend on the others.) Metrics: ``policy_loss``,
        ``value_loss``, ``entropy``, ``kl`` (see `approximate_kl`) and ``clip_fraction``, how many ratios are outside.

    Raises:
        ValueError: If ``clip`` or ``value_clip`` is not above 0, or a coefficient negative; when called, if a column of
            the batch is not one number for each row.

    Example:
        >>> from course_lib.rl.policies import ActorCritic
        >>> one, zero = torch.ones(3), torch.zeros(3)
        >>> batch = PolicyBatch(torch.zeros(3, 4), torch.tensor([0, 1, 1]), torch.full((3,), 0.5).log(), one, one, zero)
        >>> loss = ppo_objective(value_coefficient=0.0)(ActorCritic(4, 2), batch)
        >>> round(loss.total.item(), 4), loss.metrics["clip_fraction"]
        (-3.0, tensor(0))

    Reference: Schulman et al. 2017, eq. 9, https://arxiv.org/abs/1707.06347; Huang et al. 2022, The 37 implementation
    details of proximal policy optimization, ICLR blog track
    """
    if not clip > 0 or (value_clip is not None and not value_clip > 0):
        raise ValueError(f"clip and value_clip must be above 0, got {clip} and {value_clip}.")
    check_coefficients(value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient)

    def objective(model: nn.Module, batch: Batch) -> Loss:
        batch = PolicyBatch(*batch)
        judged = model(batch.observations, batch.actions)
        check_rows(judged.log_probs, batch)
        policy_loss = clipped_surrogate(judged.log_probs, batch.log_probs, batch.advantages, clip=clip).sum()
        value_loss = _value_errors(judged.values, batch, value_clip).sum()
        entropy = judged.entropy.sum()
        total = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
        with torch.no_grad():
            kl = approximate_kl(judged.log_probs, batch.log_probs).sum()
            outside = torch.count_nonzero((judged.log_probs - batch.log_probs).expm1().abs() > clip)
        metrics = {"policy_loss": policy_loss.detach(), "value_loss": value_loss.detach(), "entropy": entropy.detach()}
        return Loss(total, len(batch.advantages), metrics | {"kl": kl, "clip_fraction": outside})

    return objective


def _value_errors(values: Tensor, batch: PolicyBatch, value_clip: float | None) -> Tensor:
    errors = (values - batch.returns).square()
    if value_clip is None:
        return errors
    held_back = batch.values + (values - batch.values).clamp(-value_clip, value_clip)
    return torch.maximum(errors, (held_back - batch.returns).square())
