"""What acting leaves behind: a block of steps over several environments, and the transitions in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Shape letters used in this file: T = steps, N = environments, B = transitions, "..." = one observation or action.


class Transitions(NamedTuple):
    """Steps without their order, one a row: what off-policy learning, imitation and offline learning start from.

    It is a tuple of tensors, so it goes into `course_lib.data.Batches` as it is.

    Args:
        observations: What was seen.
        actions: What was done.
        rewards: What came of it.
        next_observations: What was seen next; at an episode's end its true last observation.
        terminated: Whether the world ended there. A time limit is no such end: the future still has its value.

    Shape:
        - observations, next_observations: ``(B, ...)``
        - actions: ``(B,)``, int64, or ``(B, A)``
        - rewards: ``(B,)``; terminated: ``(B,)``, bool
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """``T`` steps of ``N`` environments side by side.

    Gymnasium's environments reset themselves one step after an episode's end. So row ``t + 1`` of ``observations`` is
    always what followed step ``t``, the last observation of an episode included, and no episode's value is lost; but
    the step after an end is no transition (the action was ignored, the reward is 0): ``valid`` is False there.

    Args:
        observations: What was seen; one row more than steps, the last being where the rollout stopped.
        actions: What the policy chose.
        rewards: What each step gave.
        terminated: Whether the world ended in this step (a pole fell): no reward can follow.
        truncated: Whether the episode was cut off (a time limit): rewards would have followed.
        valid: Whether the step is a transition.

    Shape:
        - observations: ``(T + 1, N, ...)``
        - actions: ``(T, N)``, int64, or ``(T, N, A)``
        - rewards: ``(T, N)``; terminated, truncated, valid: ``(T, N)``, bool

    Raises:
        ValueError: If the shapes do not fit together.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor

    def __post_init__(self) -> None:
        steps = self.rewards.shape
        flags = (self.terminated, self.truncated, self.valid)
        if (
            len(steps) != 2
            or any(flag.shape != steps or flag.dtype != torch.bool for flag in flags)
            or self.actions.shape[:2] != steps
            or self.observations.shape[:2] != (steps[0] + 1, steps[1])
        ):
            raise ValueError(
                "a rollout needs rewards (T, N), actions (T, N, ...), observations (T + 1, N, ...) and boolean "
                f"terminated, truncated, valid (T, N); got rewards {tuple(steps)}, actions "
                f"{tuple(self.actions.shape)}, observations {tuple(self.observations.shape)} and "
                + ", ".join(f"{flag.dtype} {tuple(flag.shape)}" for flag in flags)
                + "."
            )

    @property
    def next_observations(self) -> Tensor:
        """What followed each step, ``(T, N, ...)``."""
        return self.observations[1:]

    @property
    def done(self) -> Tensor:
        """Where an episode ended, for either reason."""
        return self.terminated | self.truncated

    def rows(self, values: Tensor) -> Tensor:
        """Return the valid entries of ``(T, N, ...)`` as rows ``(B, ...)``, step by step."""
        return values[self.valid]

    def transitions(self) -> Transitions:
        """Return the valid steps as rows."""
        parts = (self.observations[:-1], self.actions, self.rewards, self.next_observations, self.terminated)
        return Transitions(*(self.rows(part) for part in parts))


def join_transitions(parts: Sequence[Transitions]) -> Transitions:
    """Put the rows of several sets below each other.

    Raises:
        ValueError: If there is nothing to join.

    Example:
        >>> one = Transitions(torch.zeros(2, 4), torch.zeros(2), torch.ones(2), torch.zeros(2, 4), torch.ones(2).bool())
        >>> join_transitions([one, one]).rewards
        tensor([1., 1., 1., 1.])
    """
    if not parts:
        raise ValueError("there are no transitions to join: give at least one set.")
    return Transitions(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
