"""The order of the data: which rows are in which batch, from (seed, epoch, position) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from .examples import Examples


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batches:
    """A stream of batches whose order is a pure function of (seed, epoch, position).

    Epoch ``e`` goes through the rows in the order ``np.random.default_rng([seed, e]).permutation(N)``, cut into
    batches. There is no hidden state: to go on after ``k`` batches, in the middle of an epoch or later, iterate
    ``batches.skip(k)``. Global random generators are neither read nor moved.

    With several processes (torchrun) each batch of ``batch_size`` rows is dealt out: rank ``r`` of ``W`` gets rows
    ``r, r + W, r + 2W, ...`` of it. No row is lost or seen twice, and every rank makes as many batches; a rank for
    which no row is left gets a batch of 0 rows.

    Args:
        data: ``Examples``, or a tuple of tensors with one row an example.
        batch_size: Rows in a batch, over all ranks together.
        seed: Chooses the order; a whole number, 0 or more.
        shuffle: False goes through the rows as they stand.
        drop_last: Leave out the shorter batch at an epoch's end, when ``batch_size`` does not divide ``N``.
        epochs: How often to go through the data; ``None`` goes on for ever.
        start: How many batches were consumed already, counted from the very beginning.
        rank: This process's number; by default torch.distributed's, and 0 without a process group.
        world_size: Number of processes; by default torch.distributed's, and 1 without a process group.

    Shape:
        - data: tensors ``(N, ...)`` on any devices
        - each batch: a tuple of tensors ``(n, ...)``; n is ``batch_size`` but for ranks and an epoch's last batch

    Returns:
        ``len(batches)`` is the number of batches **in one epoch**. Iterating twice gives the same stream twice.

    Raises:
        ValueError: If there are no rows or no whole batch, lengths differ, or a number is out of its range.

    Example:
        >>> batches = Batches((torch.arange(5), torch.arange(5) * 10), batch_size=2, seed=0, epochs=1)
        >>> for x, y in batches:
        ...     print(x.tolist(), y.tolist())
        [2, 4] [20, 40]
        [3, 0] [30, 0]
        [1] [10]
    """

    split_by_rank: ClassVar[bool] = True  # tells a training loop under torchrun that ranks see different rows

    data: Examples | tuple[Tensor, ...]
    _: KW_ONLY
    batch_size: int
    seed: int
    shuffle: bool = True
    drop_last: bool = False
    epochs: int | None = None
    start: int = 0
    rank: int | None = None
    world_size: int | None = None

    def __post_init__(self) -> None:
        self._check_data()
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}.")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, or None to go on for ever, got {self.epochs}.")
        if self.start < 0:
            raise ValueError(f"start counts batches consumed already, so it must be 0 or more, got {self.start}.")
        if len(self) == 0:
            raise ValueError(
                f"{len(self.tensors[0])} rows make no whole batch of {self.batch_size}, and drop_last drops the rest: "
                "take a smaller batch_size, or drop_last=False."
            )
        if (self.rank is None) != (self.world_size is None):
            raise ValueError(f"give rank and world_size together, got rank={self.rank}, world_size={self.world_size}.")
        if self.rank is not None and self.world_size is not None and not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in 0 to world_size - 1, got rank {self.rank} of {self.world_size}.")

    def _check_data(self) -> None:
        if not isinstance(self.data, Examples) and not (
            isinstance(self.data, tuple) and self.data and all(isinstance(t, Tensor) and t.ndim for t in self.data)
        ):
            raise ValueError(
                f"Batches needs Examples or a tuple of tensors, got {type(self.data).__name__}; "
                "for a single tensor write (x,)."
            )
        lengths = [len(tensor) for tensor in self.tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"all tensors need the same number of rows, got {lengths}.")
        if lengths[0] == 0:
            raise ValueError("there is no data: the tensors have 0 rows.")

    def __repr__(self) -> str:
        rows, kind = len(self.tensors[0]), "shuffled" if self.shuffle else "in order"
        times = "for ever" if self.epochs is None else f"{self.epochs} epochs"
        return (
            f"Batches({rows} rows {kind}, {len(self)} batches of {self.batch_size} an epoch, {times}, seed {self.seed})"
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that batches are cut from; ``(x, y)`` for ``Examples``."""
        return (self.data.x, self.data.y) if isinstance(self.data, Examples) else self.data

    def __len__(self) -> int:
        """Return the number of batches in one epoch."""
        whole, rest = divmod(len(self.tensors[0]), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def skip(self, n: int) -> Batches:
        """Return the same stream without its first ``n`` batches; nothing is read to get there.

        Raises:
            ValueError: If ``n`` is negative.
        """
        if n < 0:
            raise ValueError(f"skip needs a number of batches, 0 or more, got {n}.")
        return replace(self, start=self.start + n)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches from ``start`` on."""
        rank, world_size = self._place()
        epoch, position = divmod(self.start, len(self))
        while self.epochs is None or epoch < self.epochs:
            order = self._order(epoch)
            sources = [(tensor, order.to(tensor.device)) for tensor in self.tensors]  # one transfer an epoch
            for first in range(position * self.batch_size, len(self) * self.batch_size, self.batch_size):
                mine = slice(first + rank, first + self.batch_size, world_size)
                yield tuple(tensor.index_select(0, rows[mine]) for tensor, rows in sources)
            epoch, position = epoch + 1, 0

    def _order(self, epoch: int) -> Tensor:
        rows = len(self.tensors[0])
        if not self.shuffle:
            return torch.arange(rows)
        return torch.from_numpy(np.random.default_rng([self.seed, epoch]).permutation(rows))

    def _place(self) -> tuple[int, int]:
        if self.rank is not None and self.world_size is not None:
            return self.rank, self.world_size
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1
