"""Showing what the ranks of a launch print, as it comes: whole lines, each behind its rank."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, cast

from course_lib.distributed.launching.rank_folder import RankFolder

_INTERVAL_SECONDS = 0.05


class _Lines:
    """Where one file of one rank is shown: holds a line back until it is whole, so that no other rank breaks into it.

    Args:
        stream: The caller's.
        prefix: Stands before each line.
    """

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream, self._prefix = stream, prefix
        self._pieces: list[str] = []

    def write(self, text: str) -> None:
        """Take a line, or a piece of one."""
        self._pieces.append(text)
        if text.endswith("\n"):
            self._stream.write(self._prefix + "".join(self._pieces))
            self._pieces = []

    def end(self) -> None:
        """Show what was begun: the rank will not go on with it."""
        if self._pieces:
            self.write("\n")


@contextmanager
def shown(folders: Sequence[RankFolder]) -> Iterator[None]:
    """Show what the ranks print, on this process's own streams, which in a notebook are the cell's."""
    from torch.distributed.elastic.multiprocessing.tail_log import TailLog

    tails = []
    for folder in folders:
        for path, stream in ((folder.stdout, sys.stdout), (folder.stderr, sys.stderr)):
            lines = _Lines(stream, f"[rank {folder.rank}] ")
            tails.append((TailLog("rank", {0: str(path)}, cast(TextIO, lines), {0: ""}, _INTERVAL_SECONDS), lines))
    for tail, _ in tails:
        tail.start()
    try:
        yield
    finally:
        for tail, lines in tails:
            tail.stop()
            lines.end()
