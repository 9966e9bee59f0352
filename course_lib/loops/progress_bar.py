"""A progress bar that works in a terminal, in a page, and in a log without filling it."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_UPDATES = 0.2


class ProgressBar:
    """One line that says how far a loop is; in a notebook it stays behind as the line of the result.

    In a page the bar is plain text that replaces itself, so a saved notebook holds its last state and no widget.
    In a terminal it is tqdm's. Where output goes to a file only the last line is printed.

    Args:
        total: Steps the loop will make.
        initial: Steps made already.
        enabled: ``False`` shows nothing at all.
    """

    def __init__(self, total: int, *, initial: int = 0, enabled: bool = True) -> None:
        self.total, self.initial, self.done, self.enabled = total, initial, initial, enabled
        self.started = self._shown = time.perf_counter()
        self._handle = _page_handle() if enabled else None
        terminal = enabled and self._handle is None and sys.stderr.isatty()
        self._tqdm = tqdm(total=total, initial=initial, leave=False) if terminal else None

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` steps are made; redraws at most five times a second."""
        if self._tqdm is not None:
            self._tqdm.set_postfix_str(note, refresh=False)
            self._tqdm.update(done - self.done)
        self.done = done
        now = time.perf_counter()
        if self._handle is not None and now - self._shown >= SECONDS_BETWEEN_UPDATES:
            self._shown = now
            bar = tqdm.format_meter(
                done, self.total, now - self.started, initial=self.initial, ncols=60, postfix=note or None
            )
            self._handle.update({"text/plain": bar}, raw=True)

    def close(self, summary: str) -> None:
        """End with one line that stays."""
        if self._tqdm is not None:
            self._tqdm.close()
        if self._handle is not None:
            self._handle.update({"text/plain": summary}, raw=True)
        elif self.enabled:
            print(summary)


def _page_handle() -> Any:
    """Return an updatable display in a Jupyter kernel, else None. IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
