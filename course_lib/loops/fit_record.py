"""What `fit` writes down between updates, in memory and in the log, and saves in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from course_lib.loops.early_stopping import EarlyStopping
from course_lib.loops.history import History
from course_lib.loops.log import RunLog
from course_lib.loops.run import Run
from course_lib.loops.step import Step


class FitRecord:
    """Collects steps, reads them when reading does not make a device wait, and turns them into rows.

    Args:
        run: What is trained.
        early_stopping: Told of each validation.
        log: Gets a row for each step.
    """

    def __init__(self, run: Run, early_stopping: EarlyStopping | None, log: RunLog | None) -> None:
        self.history = History(first_step=run.index)
        self.first_consumed = run.consumed  # where in the run's life the stream of this fit began
        self._run, self._early_stopping, self._log = run, early_stopping, log
        self._unread: list[Step] = []
        self._since_row: list[tuple[float, int]] = []  # loss and count of each step read since the last row
        self._held: dict[str, float] = {}  # the log's row of the last step read, which validation may add to
        self._grad_norm = 0.0  # of the last step read

    @property
    def has_news(self) -> bool:
        """Whether steps were made since the last row."""
        return bool(self._unread or self._since_row)

    def take(self, step: Step) -> None:
        """Take in one step. On the CPU the one before is read and logged now, on a device all are with the next row."""
        if not self._run.defer_checks:
            self._read()
        self._unread.append(step)

    def add_row(self) -> None:
        """Close a row of the history: the mean over targets since the last one."""
        self._read()
        mean = sum(loss * count for loss, count in self._since_row) / sum(count for _, count in self._since_row)
        self._since_row.clear()
        self.history.rows.append({"step": self._run.index, "loss": mean, "grad_norm": self._grad_norm})

    def add_validation(self, metrics: Mapping[str, float]) -> None:
        """Add to that row, and to the step's in the log, what validation gave; tell early stopping."""
        named = {f"validation_{name}": value for name, value in metrics.items()}
        self.history.rows[-1].update(named)
        if self._held:  # not yet in the log
            self._held.update(named)
        if self._early_stopping is not None:
            judged = self._run.model if self._run.ema is None else self._run.ema.model
            self._early_stopping.update(judged, self._run.index, dict(metrics), self._run.objective)

    def finish(self) -> None:
        """Read and log all that was made; after a failure, the steps before it."""
        self._unread = [step for step in self._unread if step.index <= self._run.index]
        self._read()
        self._log_held()

    def _read(self) -> None:
        """Move what the unread steps gave into the history and the log, but for the log's last row."""
        while self._unread:
            step = self._unread[0]
            values = step.values()  # raises if one of them was not finite; whoever interrupts does so here
            self._unread.pop(0)
            self._grad_norm = values["grad_norm"]
            self.history.losses.append(values["loss"])
            self._since_row.append((values["loss"], int(step.count)))
            self._log_held()
            self._held = {"step": step.index, "learning_rate": step.learning_rate, **values}

    def _log_held(self) -> None:
        held, self._held = self._held, {}
        if self._log is not None and held:
            self._log.record(int(held.pop("step")), **held)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        self._read()
        self._log_held()
        if self._log is not None:
            self._log.sync()  # a checkpoint must not outlive its rows
        return {
            "history": self.history.state_dict(),
            "first_consumed": self.first_consumed,
            "since_row": [[loss, count] for loss, count in self._since_row],
            "grad_norm": self._grad_norm,
            "early_stopping": None if self._early_stopping is None else self._early_stopping.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If only one of the two runs stops early.
        """
        if (state["early_stopping"] is None) != (self._early_stopping is None):
            with_it = "this call of fit" if state["early_stopping"] is None else "the saved run"
            raise ValueError(f"only {with_it} has early stopping: call fit as before, or save to another folder.")
        self.history.load_state_dict(state["history"])
        self.first_consumed = state["first_consumed"]
        self._since_row = [(loss, count) for loss, count in state["since_row"]]
        self._grad_norm = state["grad_norm"]
        if self._early_stopping is not None:
            self._early_stopping.load_state_dict(state["early_stopping"])
