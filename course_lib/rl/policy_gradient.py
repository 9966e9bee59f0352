"""REINFORCE and actor-critic as one objective: make likelier what turned out better than expected."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from course_lib.loops.loss import Batch, Loss, Objective

# Shape letters used in this file: B = rows, "..." = shape of one observation or action.


class PolicyBatch(NamedTuple):
    """Steps that a policy took, with what came of them: the batch of every on-policy objective here.

    Args:
        observations: What was seen.
        actions: What was done.
        log_probs: How likely that was for the policy which did it.
        advantages: How much better than expected it turned out; any estimate, from the plain return to `gae`.
        returns: What the critic shall say of ``observations``.
        values: What it said then.

    Shape:
        - observations: ``(B, ...)``; actions: ``(B,)``, int64, or ``(B, A)``; the others: ``(B,)``
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor
    values: Tensor


def policy_gradient(*, value_coefficient: float = 0.0, entropy_coefficient: float = 0.0) -> Objective:
    """Return the objective ``-log pi(action) * advantage``, summed over steps.

    Its gradient is minus that of the expected return if the actions come from the very policy that learns. REINFORCE,
    REINFORCE with a baseline and actor-critic are this one objective; they differ in the batch's ``advantages``: the
    return, the return minus a value that does not depend on the action, an estimate by the critic (`gae`).

    Args:
        value_coefficient: How much of the critic's squared error ``(V - returns)^2`` is added.
        entropy_coefficient: How much of the policy's entropy is subtracted, which keeps it exploring.

    Shape:
        - batch: a `PolicyBatch`
        - the model is called as ``model(observations, actions)`` and gives ``log_probs``, ``entropy`` and ``values``

    Returns:
        An objective; ``count`` is the number of steps. **Its value means nothing by itself**: it is no measure of
        success and may rise while the policy improves. Metrics: ``policy_loss``, ``value_loss``, ``entropy``.

    Raises:
        ValueError: If a coefficient is negative; when called, if a column of the batch is not one number for each row.

    Example:
        >>> import torch
        >>> from course_lib.rl.policies import ActorCritic
        >>> one, zero = torch.ones(3), torch.zeros(3)
        >>> batch = PolicyBatch(torch.zeros(3, 4), torch.tensor([0, 1, 1]), zero, one, one, zero)
        >>> loss = policy_gradient()(ActorCritic(4, 2), batch)
        >>> round(loss.total.item(), 4), loss.count  # 3 ln 2: both actions are as likely
        (2.0794, 3)

    Reference: Williams 1992, Simple statistical gradient-following algorithms for connectionist reinforcement learning;
    Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, section 4, https://arxiv.org/abs/1602.01783
    """
    check_coefficients(value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient)

    def objective(model: nn.Module, batch: Batch) -> Loss:
        batch = PolicyBatch(*batch)
        judged = model(batch.observations, batch.actions)
        check_rows(judged.log_probs, batch)
        policy_loss = -(judged.log_probs * batch.advantages).sum()
        value_loss = (judged.values - batch.returns).square().sum()
        entropy = judged.entropy.sum()
        total = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
        metrics = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        return Loss(total, len(batch.advantages), {name: value.detach() for name, value in metrics.items()})

    return objective


def check_rows(log_probs: Tensor, batch: PolicyBatch) -> None:
    """Refuse a batch whose columns would broadcast against the model's answers."""
    for name in ("log_probs", "advantages", "returns", "values"):
        column = getattr(batch, name)
        if column.shape != log_probs.shape:
            raise ValueError(
                f"{name} must be one number for each row, {tuple(log_probs.shape)}, got {tuple(column.shape)}: "
                "a wrong axis would broadcast."
            )


def check_coefficients(**coefficients: float) -> None:
    """Refuse a weight of a part of the loss that is negative or not finite."""
    for name, value in coefficients.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be 0 or more, got {value}.")
