"""A run log that also says how fast training goes: tokens per second, and which share of the chip that uses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_lib.loops import Run, RunLog

_LEAST_SECONDS = 1.0  # between two readings: single updates of a small model take too short to be timed


class SpeedLog(RunLog):
    """A `RunLog` whose rows have two more columns, ``tokens_per_second`` and ``mfu``.

    Both are means over the last second or more by the clock on the wall, validation and saving included. Rows before
    the first reading (the first updates after a start, in which torch compiles and warms up) have none. MFU, model
    FLOPs utilisation, is the rate of the arithmetic that the model needs (recomputation is not counted) over the
    peak rate of the chip.

    Args:
        path: As for `RunLog`.
        settings: As for `RunLog`.
        run: Whose updates are counted.
        tokens_per_step: Targets an update learns from, over all ranks.
        flops_per_token: Of the forward and the backward pass.
        peak_flops_per_second: Of all chips together.

    Reference: Chowdhery et al. 2022, *PaLM: Scaling Language Modeling with Pathways*, appendix B,
    https://arxiv.org/abs/2204.02311
    """

    def __init__(
        self,
        path: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        run: Run,
        tokens_per_step: int,
        flops_per_token: float,
        peak_flops_per_second: float,
    ) -> None:
        super().__init__(path, settings=settings)
        self._run, self._tokens_per_step = run, tokens_per_step
        self._flops_per_token, self._peak = flops_per_token, peak_flops_per_second
        self._last: tuple[float, int] | None = None  # clock and update at the last reading
        self.tokens_per_second: float | None = None

    def record(self, step: int, /, **values: float | int | str | bool) -> None:
        """Append one row as `RunLog.record` does, with the two columns once they are known."""
        now, index = time.perf_counter(), self._run.index  # on a device several updates are read at once: index is last
        if self._last is None:
            self._last = now, index
        elif now - self._last[0] >= _LEAST_SECONDS and index > self._last[1]:
            self.tokens_per_second = (index - self._last[1]) * self._tokens_per_step / (now - self._last[0])
            self._last = now, index
        if self.tokens_per_second is not None:
            values["tokens_per_second"] = round(self.tokens_per_second, 1)
            values["mfu"] = round(self.tokens_per_second * self._flops_per_token / self._peak, 5)
        super().record(step, **values)
