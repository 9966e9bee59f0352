"""The folder through which a rank tells what came of it: its value, its error, or where it was stopped."""

from __future__ import annotations

import json
import linecache
import os
import re
import time
from pathlib import Path
from typing import Any, Literal

import torch

State = Literal["returned", "raised", "neither"]
_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)')


class RankFolder:
    """Files of one rank; the worker writes them, the launching process reads them when the worker has ended.

    Args:
        root: The folder of the launch.
        rank: Whose files.
    """

    def __init__(self, root: Path, rank: int) -> None:
        self.rank = rank
        self.path = root / str(rank)
        self.stdout = self.path / "stdout.log"
        self.stderr = self.path / "stderr.log"
        self.stopped = self.path / "stopped.txt"
        self._value = self.path / "value.pt"
        self._error = self.path / "error.json"

    def save(self, value: Any) -> None:
        """Leave what the rank returns; the file appears only when it is whole."""
        import cloudpickle

        unfinished = self._value.with_suffix(".unfinished")
        try:
            torch.save(value, unfinished, pickle_module=cloudpickle)
        except Exception as error:
            raise TypeError(
                f"What the function returned cannot be sent back: {error}. Return tensors, numbers, text, and "
                "lists, dictionaries or dataclasses of them (of a sharded tensor its local part)."
            ) from None
        os.replace(unfinished, self._value)

    def load(self) -> Any:
        """Return what the rank returned, its tensors on the CPU."""
        return torch.load(self._value, map_location="cpu", weights_only=False)

    def save_error(self, summary: str, traceback: str) -> None:
        """Leave an exception as text, a line and its traceback, and when it came."""
        unfinished = self._error.with_suffix(".unfinished")
        unfinished.write_text(json.dumps([time.time_ns(), summary, traceback]), encoding="utf-8")
        os.replace(unfinished, self._error)

    def error(self) -> tuple[int, str, str]:
        """Return when the exception came (in nanoseconds), its line and its traceback."""
        when, summary, traceback = json.loads(self._error.read_text(encoding="utf-8"))
        return when, summary, traceback

    def state(self) -> State:
        """Return what came of the rank, once its process has ended."""
        if self._error.exists():
            return "raised"
        if self._value.exists():
            return "returned"
        return "neither"

    def place(self) -> str:
        """Return the user's frames in which the rank was stopped, in a traceback's order with the lines of code."""
        text = self.stopped.read_text(encoding="utf-8") if self.stopped.exists() else ""
        for stack in text.split("\n\n"):
            frames = [match for match in map(_FRAME.fullmatch, stack.splitlines()) if match]
            for index, frame in enumerate(frames):  # the innermost first
                if frame["function"] == "call" and frame["file"].endswith("worker.py"):
                    return "\n".join(_described(inner) for inner in reversed(frames[:index]))
        return "  (at its start, saving what it returns, or it handles SIGTERM itself)"


def _described(frame: re.Match[str]) -> str:
    code = linecache.getline(frame["file"], int(frame["line"])).strip()
    return f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}' + (f"\n    {code}" if code else "")
