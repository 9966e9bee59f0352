"""From a rollout to updates: judge what was done, deal it out in shuffled parts, go through it a few times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from course_lib.loops import Run, Step
from course_lib.rl.advantages import gae
from course_lib.rl.policies import ActorCritic
from course_lib.rl.policy_gradient import PolicyBatch
from course_lib.rl.rollout import Rollout

Normalise = Literal["minibatch", "rollout"] | None


def policy_batch(policy: ActorCritic, rollout: Rollout, *, gamma: float, lam: float) -> PolicyBatch:
    """Judge a rollout by the policy that made it: log-probabilities, values, advantages, targets for the critic.

    Only true transitions become rows; the steps on which Gymnasium reset an environment are left out.

    Example:
        >>> from course_lib.rl.collector import Collector
        >>> from course_lib.rl.environments import make_envs
        >>> rollout = Collector(make_envs("CartPole-v1", 2), seed=0).collect(lambda seen: torch.zeros(2).long(), 30)
        >>> batch = policy_batch(ActorCritic(4, 2), rollout, gamma=0.99, lam=0.95)
        >>> len(batch.advantages) == int(rollout.valid.sum()) < 60
        True
    """
    seen, actions = rollout.observations[:-1], rollout.actions
    with torch.no_grad():
        values = policy.values(rollout.observations.flatten(0, 1)).view(rollout.observations.shape[:2])
        judged = policy(seen.flatten(0, 1), actions.flatten(0, 1))
        advantages = gae(
            rollout.rewards, values[:-1], values[1:], rollout.terminated, rollout.truncated, gamma=gamma, lam=lam
        )
    columns = (
        seen,
        actions,
        judged.log_probs.view(rollout.rewards.shape),
        advantages,
        advantages + values[:-1],
        values[:-1],
    )
    return PolicyBatch(*(rollout.rows(column) for column in columns))


def normalised(advantages: Tensor) -> Tensor:
    """Return ``advantages`` with mean 0 and standard deviation 1; all 0 if they are equal, a single one as it is."""
    if len(advantages) == 1:
        return advantages
    least, most = advantages.aminmax()
    scaled = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    return scaled * (most > least)  # of equal ones the rounding of the mean would remain


def minibatches(
    batch: PolicyBatch, batch_size: int, *, generator: torch.Generator, normalise: Normalise = "minibatch"
) -> Iterator[PolicyBatch]:
    """Deal out the rows of ``batch`` once, shuffled, in parts of about ``batch_size`` that differ by one row at most.

    Args:
        batch: From `policy_batch`.
        batch_size: Rows in a part, about.
        generator: Of the order; on the batch's device.
        normalise: Whether advantages get mean 0 and deviation 1 in each part, in the whole batch, or not at all.

    Raises:
        ValueError: If ``batch_size`` is less than 1 or ``normalise`` is unknown.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    _check_normalise(normalise)
    rows = len(batch.advantages)
    if normalise == "rollout":
        batch = batch._replace(advantages=normalised(batch.advantages))
    order = torch.randperm(rows, generator=generator, device=batch.advantages.device)
    for chosen in order.tensor_split(max(1, round(rows / batch_size))):
        part = PolicyBatch(*(column.index_select(0, chosen) for column in batch))
        yield part._replace(advantages=normalised(part.advantages)) if normalise == "minibatch" else part


def improve(
    run: Run,
    batch: PolicyBatch,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    normalise: Normalise = "minibatch",
    target_kl: float | None = None,
) -> dict[str, float]:
    """Go ``epochs`` times through ``batch``, an update for each part; return the last epoch's mean metrics.

    Args:
        run: What learns.
        batch: From `policy_batch`.
        epochs: How often each step is used.
        batch_size: Rows in an update, about.
        generator: Of the order of rows.
        normalise: See `minibatches`.
        target_kl: If given, no further epoch is begun once the mean ``kl`` of one is above this.

    Returns:
        Means over the updates of the last epoch, its ``learning_rate``, how many ``epochs`` were made, and how many
        ``updates`` the run has made in all.

    Raises:
        ValueError: If ``target_kl`` is given and the objective has no metric ``kl``.
    """
    made, means = 0, dict[str, float]()
    for _ in range(epochs):
        parts = minibatches(batch, batch_size, generator=generator, normalise=normalise)
        updates = [run.step(part) for part in parts]
        means = _means(updates) | {"learning_rate": updates[-1].learning_rate}
        made += 1
        if target_kl is not None and "kl" not in means:
            raise ValueError("target_kl needs an objective that reports kl, such as ppo_objective.")
        if target_kl is not None and means["kl"] > target_kl:
            break
    return means | {"epochs": float(made), "updates": float(run.index)}


def check_schedule(
    *, steps: int, epochs: int, rollout_length: int, batch_size: int, normalise: Normalise, target_kl: float | None
) -> None:
    """Refuse settings under which nothing could be learnt."""
    for name, value in {"steps": steps, "epochs": epochs}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if rollout_length < 2:
        raise ValueError(f"rollout_length must be at least 2, or a reset may be all there is, got {rollout_length}.")
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}.")
    _check_normalise(normalise)
    if target_kl is not None and not target_kl > 0:
        raise ValueError(f"target_kl must be above 0, got {target_kl}; 0.01 to 0.05 is usual.")


def _check_normalise(normalise: Normalise) -> None:
    if normalise is not None and normalise not in get_args(get_args(Normalise)[0]):
        raise ValueError(f"normalise must be 'minibatch', 'rollout' or None, got {normalise!r}.")


def _means(steps: list[Step]) -> dict[str, float]:
    """Mean of each value over updates; they are of about one size, so each counts the same."""
    values = [step.values() for step in steps]
    return {name: sum(value[name] for value in values) / len(values) for name in values[0]}
