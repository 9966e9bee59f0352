"""A run log as it is read: its settings, its rows, a column of them, a plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.loops.log.lines import LogLines, resolved


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run log as it was read: the rows that count, one a step, in order.

    Args:
        settings: What the run was asked to do.
        circumstances: When, where and by which versions: started, versions, platform, num_threads, torch_seed (of
            torch's global generator when the log was opened), commit (of the git checkout around the current
            folder; changes not committed do not show).
        rows: Each with ``step``, ``wall_seconds`` and what was recorded. Apart from ``wall_seconds``, those of a run
            that was killed and resumed equal those of one that never was.
        resumed: For each resumption the step it went on from, and its circumstances.
    """

    settings: dict[str, Any]
    circumstances: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    resumed: tuple[dict[str, Any], ...]

    def column(self, name: str) -> list[Any]:
        """Return one column: its value in each row that has it.

        Raises:
            ValueError: If there is no such column; the message lists those there are.
        """
        known = list(dict.fromkeys(key for row in self.rows for key in row))
        if name not in known:
            raise ValueError(f"the log has no column {name!r}; it has: {', '.join(known) or 'no rows yet'}.")
        return [row[name] for row in self.rows if name in row]

    def plot(self, *names: str, ax: Any = None) -> Any:
        """Draw columns against the step; return the Matplotlib axes (new ones unless ``ax`` is given)."""
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 3.2))
        for name in names:
            values = self.column(name)
            ax.plot([row["step"] for row in self.rows if name in row], values, label=name)
        ax.set(xlabel="updates", ylabel=", ".join(names))
        if len(names) > 1:
            ax.legend(frameon=False)
        return ax


def read_log(path: str | Path) -> LoggedRun:
    """Read a run log, finished or still being written.

    Raises:
        ValueError: Naming file and line, if it is no run log, one of a newer version, or damaged before its last line.
        FileNotFoundError: If there is no such file.
    """
    lines = LogLines(path)
    entries = lines.read()
    if not entries:
        raise lines.fault("this is no run log: it has no whole line.")
    circumstances = {key: value for key, value in entries[0].items() if key not in ("format", "version", "settings")}
    resumptions = tuple(entry for entry in entries if "resumed" in entry)
    return LoggedRun(entries[0]["settings"], circumstances, tuple(resolved(entries)), resumptions)
