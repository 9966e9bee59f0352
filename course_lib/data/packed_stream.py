"""Windows of tokens from a stream of documents that is larger than memory, with a place to go on from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from .packing import Ids, as_ids, check_window, windows


@dataclass(frozen=True, slots=True, eq=False)
class PackedStream:
    """Batches of packed windows, read row by row from a Hugging Face dataset that streams.

    The windows are those of `pack`, in the order of the documents; only the current batch is in memory. For a
    shuffled stream shuffle the documents, ``stream.shuffle(seed=0, buffer_size=10_000)``, before they come here.

    Tokens are made by ``map``, lazily::

        stream = from_hub("owner/name", streaming=True)
        rows = stream.map(lambda row: {"ids": tokenizer.encode(row["text"])}, remove_columns=["text"])
        batches = PackedStream(rows, context_length=1024, separator=tokenizer.special["<|endoftext|>"], batch_size=32)

    With several processes (torchrun) all read the whole stream, and rank ``r`` of ``W`` keeps rows
    ``r, r + W, r + 2W, ...`` of each batch; a rank for which no row is left gets a batch of 0 rows.

    Args:
        rows: Dictionaries with a list of token ids, iterated anew each time, in the same order. Rows without a
            token are passed over.
        column: Where the ids are.
        context_length: Tokens a window.
        separator: Id of the token that ends a document.
        batch_size: Windows a batch, over all ranks together. The last batch of an epoch may be shorter.
        epochs: How often to go through the rows; ``None`` goes on for ever.
        start: How many batches were consumed already, counted from the very beginning.
        rank: This process's number; by default torch.distributed's, and 0 without a process group.
        world_size: Number of processes; by default torch.distributed's, and 1 without a process group.

    Shape:
        - each batch: ``(x, y)``, both ``(n, T)``, int64

    Raises:
        ValueError: If a number is out of its range or ``rows`` can be iterated only once; while iterating, if there
            is no such column, ids are no whole numbers of at least 0, or there is no token at all.

    Example:
        >>> rows = [{"ids": [5, 6, 7]}, {"ids": [8, 9]}]
        >>> batches = PackedStream(rows, context_length=2, separator=0, batch_size=2)
        >>> [x.tolist() for x, y in batches]
        [[[0, 5], [6, 7]], [[0, 8], [9, 0]]]
        >>> [x.tolist() for x, y in batches.skip(1)]
        [[[0, 8], [9, 0]]]
    """

    split_by_rank: ClassVar[bool] = True  # tells a training loop under torchrun that ranks see different rows

    rows: Iterable[Mapping[str, Any]]
    _: KW_ONLY
    context_length: int
    separator: int
    batch_size: int
    column: str = "ids"
    epochs: int | None = 1
    start: int = 0
    rank: int | None = None
    world_size: int | None = None

    def __post_init__(self) -> None:
        check_window(self.context_length, self.separator)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 window, got {self.batch_size}.")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, or None to go on for ever, got {self.epochs}.")
        if self.start < 0:
            raise ValueError(f"start counts batches consumed already, so it must be 0 or more, got {self.start}.")
        if (self.rank is None) != (self.world_size is None):
            raise ValueError(f"give rank and world_size together, got rank={self.rank}, world_size={self.world_size}.")
        if self.rank is not None and self.world_size is not None and not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in 0 to world_size - 1, got rank {self.rank} of {self.world_size}.")
        if isinstance(self.rows, Iterator):
            raise ValueError("rows is used up after one pass: give a datasets.IterableDataset, a Dataset or a list.")

    def skip(self, n: int) -> PackedStream:
        """Return the same stream without its first ``n`` batches.

        A stream cannot be entered in the middle: when iteration begins, the documents before that point are read and
        tokenised again, though not trained on.

        Raises:
            ValueError: If ``n`` is negative.
        """
        if n < 0:
            raise ValueError(f"skip needs a number of batches, 0 or more, got {n}.")
        return replace(self, start=self.start + n)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches from ``start`` on."""
        rank, world_size = self._place()
        for number, (x, y) in enumerate(self._all()):
            if number >= self.start:
                yield torch.from_numpy(x[rank::world_size]), torch.from_numpy(y[rank::world_size])

    def _place(self) -> tuple[int, int]:
        if self.rank is not None and self.world_size is not None:
            return self.rank, self.world_size
        grouped = dist.is_available() and dist.is_initialized()
        return (dist.get_rank(), dist.get_world_size()) if grouped else (0, 1)

    def _all(self) -> Iterator[tuple[Ids, Ids]]:
        epoch = 0
        while self.epochs is None or epoch < self.epochs:
            yield from self._epoch()
            epoch += 1

    def _epoch(self) -> Iterator[tuple[Ids, Ids]]:
        size = self.batch_size * self.context_length
        waiting: list[Ids] = []
        num_waiting, before = 0, self.separator  # before: the token that precedes those waiting
        end = np.array([self.separator], dtype=np.int64)
        empty = True
        for document in self._documents():
            empty = False
            waiting += (document, end)
            num_waiting += len(document) + 1
            if num_waiting < size:
                continue
            targets = np.concatenate(waiting)
            whole = num_waiting // size * size
            for first in range(0, whole, size):
                yield self._windows(targets[first : first + size], before)
                before = int(targets[first + size - 1])
            waiting, num_waiting = [targets[whole:]], num_waiting - whole
        if empty:
            raise ValueError("there is no token in the whole stream: every row is empty, or there is none.")
        if num_waiting:
            yield self._windows(np.concatenate(waiting), before)

    def _documents(self) -> Iterator[Ids]:
        for number, row in enumerate(self.rows):
            if self.column not in row:
                raise ValueError(
                    f"expected a column {self.column!r} of token ids in row {number}, found {', '.join(row)}: make it "
                    "with rows.map(...), or name another with column=..."
                )
            ids = row[self.column]
            if not hasattr(ids, "__len__"):
                raise ValueError(f"expected a list of token ids in column {self.column!r}, row {number} holds {ids!r}.")
            if len(ids):
                yield as_ids(ids, number)

    def _windows(self, targets: Ids, before: int) -> tuple[Ids, Ids]:
        return windows(targets, before, context_length=self.context_length, separator=self.separator)
