"""Memory of past transitions, from which off-policy learning draws its batches."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.rl.rollout import Transitions


class ReplayBuffer:
    """The last ``capacity`` transitions; old ones make room for new ones.

    Neighbouring steps are alike; drawn at random from a long memory they are nearly independent, and each is used more
    than once.

    Args:
        capacity: How many transitions to keep.

    Raises:
        ValueError: If ``capacity`` is less than 1.

    Example:
        >>> buffer = ReplayBuffer(3)
        >>> step = Transitions(*(torch.arange(2.0).view(2, 1) for _ in range(5)))
        >>> buffer.add(step)
        >>> buffer.add(step)
        >>> len(buffer), buffer.sample(4, generator=torch.Generator().manual_seed(0)).rewards.shape
        (3, torch.Size([4, 1]))

    Reference: Lin 1992, Self-improving reactive agents based on reinforcement learning, planning and teaching
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}.")
        self.capacity = capacity
        self._columns: tuple[Tensor, ...] = ()
        self._added = 0

    def __len__(self) -> int:
        """Return how many transitions are kept now."""
        return min(self._added, self.capacity)

    def add(self, transitions: Transitions) -> None:
        """Take in some transitions; of more than ``capacity`` the last ones stay."""
        count = len(transitions.rewards)
        if not self._columns:
            self._columns = tuple(column.new_empty(self.capacity, *column.shape[1:]) for column in transitions)
        kept = min(count, self.capacity)
        places = torch.arange(self._added + count - kept, self._added + count) % self.capacity
        for mine, column in zip(self._columns, transitions, strict=True):
            mine[places.to(mine.device)] = column[count - kept :]
        self._added += count

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Transitions:
        """Draw ``batch_size`` transitions, each independently of the others (so one may come twice).

        Raises:
            ValueError: If nothing has been added yet.
        """
        if len(self) == 0:
            raise ValueError("the replay buffer is empty: add transitions first.")
        rows = torch.randint(len(self), (batch_size,), generator=generator, device=self._columns[0].device)
        return Transitions(*(column[rows] for column in self._columns))
