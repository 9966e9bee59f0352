"""The record of a run in a file that survives being killed: one line of JSON a row, only ever appended to."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakSet

import torch

from course_lib import __version__
from course_lib.collectives import rank
from course_lib.loops.file_lock import try_lock
from course_lib.loops.log.lines import FORMAT, RESERVED, VERSION, LogLines, json_scalar, json_settings, resolved

_encode = json.JSONEncoder(allow_nan=False).encode  # json.dumps would make a new encoder for each row


class RunLog:
    """Appends the numbers of a run to a JSON Lines file.

    The first line holds the settings and where the run happens; each `record` adds a row by a single write to a
    descriptor that can only append. A killed process (``kill -9``) loses no row that was recorded, because the
    operating system has it by then; only a power cut can take the last rows, unless `sync` or `close` came
    after them. Opened again, the log goes on: see `resumed`.

    One process at a time may write a log, and the system holds it to that. Under torchrun the first rank
    writes; on the others every method returns at once. (Create the log after the process group, which is what
    tells a process its rank.)

    Args:
        path: The file, ``runs/first.jsonl`` say; missing folders are made.
        settings: What the run was asked to do: numbers, texts, None, and dictionaries and lists of them. When an
            existing log is opened they must be those it began with; None takes those.

    Attributes:
        last_step: That of the last row that counts, None while there is none (on the other ranks always).

    Raises:
        ValueError: If a setting cannot be written, the file is no run log, is damaged, belongs to a run with other
            settings, or is being written already.

    Warns:
        UserWarning: If this file system cannot keep two processes from writing the same log.

    Example:
        >>> import tempfile
        >>> from course_lib.loops.log.logged_run import read_log
        >>> path = Path(tempfile.mkdtemp(), "run.jsonl")
        >>> with RunLog(path, settings={"lr": 0.1}) as log:
        ...     log.record(1, loss=2.5)
        ...     log.record(2, loss=float("inf"))
        >>> read_log(path).column("loss")
        [2.5, inf]
    """

    def __init__(self, path: str | Path, *, settings: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.last_step: int | None = None  # of the last row that counts
        self._writes = rank() == 0
        self._next_step = 0
        self._seconds_before = 0.0  # recorded by earlier openings of this log
        self._opened = time.perf_counter()
        if not self._writes:
            return
        given = None if settings is None else json_settings(dict(settings), "settings")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  # unbuffered: a write is one system call
        try:
            if not try_lock(self._file, guards=self.path):
                raise ValueError(
                    f"{self.path} is being written by another RunLog: close that one first (`with RunLog(...) as log:` "
                    "does so by itself). Under torchrun create the log after the process group."
                )
            if os.fstat(self._file.fileno()).st_size == 0:
                header = {"format": FORMAT, "version": VERSION, "settings": given or {}}
                self._append(header | _circumstances())
            else:
                self._reopen(given)
        except BaseException:
            self._file.close()
            raise
        _open_logs.add(self)

    def record(self, step: int, /, **values: float | int | str | bool) -> None:
        """Append one row; when this returns, the row is safe from a kill.

        Every number is read back with the bits it has here. The column ``wall_seconds`` is added: the time since
        the run began, without that between a kill and its resumption.

        Args:
            step: How many updates the run has made; larger than in the row before.
            values: The row's columns, by name: Python numbers, texts and truth values. Tensors are refused, so that
                waiting for the device is something you write down: ``log.record(step.index, **step.values())``.

        Raises:
            ValueError: If the step was recorded already or lies behind, a value is none of these, or a name is
                taken ("step", "wall_seconds", "resumed", "format"). Nothing is written then.
            OSError: If the disk is full; the log is as it was before.
        """
        if not self._writes:
            return
        if type(step) is not int or step < self._next_step:
            raise ValueError(self._why_not(step))
        if not RESERVED.isdisjoint(values):
            raise ValueError(f"a column may not be called {min(RESERVED & values.keys())!r}: the log needs that name.")
        row: dict[str, Any] = {"step": step, "wall_seconds": round(self._seconds(), 6)}
        for name, value in values.items():
            row[name] = json_scalar(value, name)
        self._append(row)
        self.last_step, self._next_step = step, step + 1

    def resumed(self, step: int) -> None:
        """Say that the run goes on from ``step``, where its checkpoint was: rows after it are void from here on.

        They stay in the file, but no reader counts them, so the log is that of a run never killed.

        Raises:
            ValueError: If ``step`` is no whole number, 0 or more.
        """
        if not self._writes:
            return
        if type(step) is not int or step < 0:
            raise ValueError(f"resumed needs the step of the checkpoint, a whole number, 0 or more; got {step!r}.")
        self._append({"resumed": step} | _circumstances())
        self._go_on(LogLines(self.path).read())
        self._next_step = max(self._next_step, step)  # a row at the step itself may still come if there is none

    def sync(self) -> None:
        """Wait until the disk has all rows, so that not even a power cut can take them; milliseconds."""
        if self._writes:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync, and let others write this log; a second call does nothing."""
        if self._writes and not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reopen(self, given: dict[str, Any] | None) -> None:
        lines = LogLines(self.path)
        entries = lines.read()
        if not entries:
            raise lines.fault("this is no run log; take another path.")
        began = json_settings(entries[0]["settings"], "settings")
        if given is not None and given != began:
            raise ValueError(_other_settings(self.path, began, given))
        self._file.truncate(lines.num_bytes)  # a row that a kill cut short: the next one must not be glued to it
        if lines.ends_open:
            self._file.write(b"\n")
        self._go_on(entries)

    def _go_on(self, entries: list[dict[str, Any]]) -> None:
        rows = resolved(entries)
        self.last_step = rows[-1]["step"] if rows else None
        self._next_step = 0 if self.last_step is None else self.last_step + 1
        self._seconds_before, self._opened = rows[-1]["wall_seconds"] if rows else 0.0, time.perf_counter()

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._opened

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file.closed:
            raise ValueError(f"{self.path} is closed; open the log again to go on.")
        line = _encode(entry).encode() + b"\n"
        written = self._file.write(line)
        if written != len(line):
            self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _why_not(self, step: object) -> str:
        if type(step) is not int or step < 0:
            return f"step must be a whole number, 0 or more, got {step!r}."
        return (
            f"{self.path} goes on at step {self._next_step}, got step {step}, which is recorded or passed. After a "
            "restart from a checkpoint call resumed(run.index) first; for a new run take another path."
        )


def _circumstances() -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "course_lib": __version__},
        "platform": platform.platform(),
        "num_threads": torch.get_num_threads(),
        "torch_seed": torch.initial_seed(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return git.stdout.strip() if git.returncode == 0 else None


def _other_settings(path: Path, began: dict[str, Any], given: dict[str, Any]) -> str:
    absent = object()
    changes = [
        f"{name} was {began.get(name, 'absent')!r} and is {given.get(name, 'absent')!r}"
        for name in sorted(began.keys() | given.keys())
        if began.get(name, absent) != given.get(name, absent)
    ]
    return (
        f"{path} is the log of a run with other settings: {'; '.join(changes)}. Take another path for a new run. "
        "What may change when a run is resumed (how many steps to make, say) is better left out of the settings."
    )


_open_logs: WeakSet[RunLog] = WeakSet()


def _close_in_child() -> None:
    """Keep a forked process (a DataLoader's worker) from holding the lock after its parent was killed."""
    for log in _open_logs:
        log._file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
