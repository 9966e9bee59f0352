"""Showing a run log in TensorBoard: a thin writer that follows the log, while it grows or afterwards."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from course_lib.loops.log.lines import Entry, LogLines, resolved


class TensorBoardMirror:
    """Copies a run log into TensorBoard's event files, row by row as they come.

    The log is the record; this is a view of it that can be made again at any time. Numbers become scalars (rounded to
    float32, as TensorBoard keeps them), texts become texts, the settings a text and a row of the HPARAMS tab. Rows that
    a resumption made void are purged. It may run in the training process or in any other.

    Args:
        log: The run log's file; it must exist.
        folder: Where the event files go: one folder for each log. If it holds some already they are superseded, and
            the whole log is written again.

    Raises:
        ImportError: If TensorBoard is not installed.
        ValueError: If the log cannot be read.

    Example:
        >>> import tempfile
        >>> from course_lib.loops.log.run_log import RunLog
        >>> path, folder = Path(tempfile.mkdtemp(), "run.jsonl"), tempfile.mkdtemp()
        >>> with RunLog(path) as log, TensorBoardMirror(path, folder) as mirror:
        ...     for step in range(1, 4):
        ...         log.record(step, loss=1 / step)
        ...     mirror.update()
        3
    """

    def __init__(self, log: str | Path, folder: str | Path) -> None:
        self._lines, self._folder = LogLines(log), Path(folder)
        header, *self._waiting = self._lines.read() or [{}]
        if not header:
            raise self._lines.fault("this is no run log: it has no whole line.")
        self._settings = _flat(header["settings"])
        self._started = datetime.fromisoformat(header["started"]).timestamp()
        self._last_step = -1
        self._columns: dict[str, None] = {}  # in the order in which they first came
        self._writer = _event_writer(self._folder, purge_step=0)
        self._writer.add_text("settings", _table(header), 0, walltime=self._started)

    def update(self) -> int:
        """Write the rows that came since the last call; return how many. Cheap enough for every few seconds."""
        entries, self._waiting = self._waiting + self._lines.read(), []
        kept = min((entry["resumed"] for entry in entries if "resumed" in entry), default=self._last_step)
        if kept < self._last_step:
            self._writer.close()
            self._writer = _event_writer(self._folder, purge_step=kept + 1)
            self._last_step = kept
        rows = resolved(entries)
        for row in rows:
            self._write(row)
        self._writer.flush()
        return len(rows)

    def close(self) -> None:
        """Write what is left, and the settings beside the names of the columns for the HPARAMS tab."""
        from torch.utils.tensorboard.summary import hparams

        self.update()
        for summary in hparams(self._settings, self._columns):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(summary, 0)
        self._writer.close()

    def __enter__(self) -> TensorBoardMirror:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, row: Entry) -> None:
        self._last_step = step = row["step"]
        walltime = self._started + row["wall_seconds"]
        for name, value in row.items():
            if name in ("step", "wall_seconds"):
                continue
            if isinstance(value, str):
                self._writer.add_text(name, value, step, walltime=walltime)
            else:
                self._writer.add_scalar(name, value, step, walltime=walltime)
                self._columns[name] = None


def write_tensorboard(log: str | Path, folder: str | Path) -> None:
    """Write a whole run log into event files; then ``tensorboard --logdir <folder>`` shows it.

    Args:
        log: As for `TensorBoardMirror`.
        folder: As for `TensorBoardMirror`.

    Raises:
        ImportError: If TensorBoard is not installed.
        ValueError: If the log cannot be read.
    """
    with TensorBoardMirror(log, folder):
        pass


def _event_writer(folder: Path, *, purge_step: int) -> Any:
    """Return a writer of a new event file, which takes back what older ones have from ``purge_step`` on.

    The first file says so as well: TensorBoard takes its word for the start, and only later ones for a purge.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(f"TensorBoard is not installed ({error}): pip install tensorboard.") from error
    # Event files are read in the order of their names, which begin with the second they were made in.
    newest = max((int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*")), default=0)
    while int(time.time()) <= newest:
        time.sleep(0.05)
    return SummaryWriter(str(folder), purge_step=purge_step)


def _table(header: Entry) -> str:
    """Return settings and circumstances as a Markdown table."""
    rows = _flat({key: value for key, value in header.items() if key not in ("format", "version")})
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| name | value |", "| --- | --- |", *lines])


def _flat(settings: Entry, prefix: str = "") -> dict[str, float | int | str | bool]:
    """Return nested settings as one level of names: ``optimizer/lr``."""
    flat: dict[str, float | int | str | bool] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value if isinstance(value, (float, int, str)) else json.dumps(value)
    return flat
