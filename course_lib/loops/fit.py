"""Training in one line: the loop with a bar, validation, early stopping, a log, checkpoints and a record of it all."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from course_lib.collectives import rank
from course_lib.loops.checkpoints import Checkpoints
from course_lib.loops.early_stopping import EarlyStopping
from course_lib.loops.evaluation import evaluate, refuse_endless
from course_lib.loops.fit_record import FitRecord
from course_lib.loops.history import History
from course_lib.loops.log import RunLog
from course_lib.loops.loss import Batch
from course_lib.loops.progress_bar import ProgressBar
from course_lib.loops.run import Run
from course_lib.loops.train import train


def fit(
    run: Run,
    batches: Iterable[Batch],
    *,
    steps: int,
    accumulate: int = 1,
    validation: Iterable[Batch] | None = None,
    every: int | None = None,
    early_stopping: EarlyStopping | None = None,
    log: RunLog | None = None,
    checkpoints: Checkpoints | None = None,
    progress: bool = True,
) -> History:
    """Train ``run`` until it has made ``steps`` updates; return what happened.

    The loop is `train`; everything here happens between its updates and never changes them. Stopped by hand
    (Ctrl-C, or JupyterLab's stop button) it ends with a warning and returns what it has. With ``checkpoints`` a script
    that was killed is simply run again: it goes on from the newest whole checkpoint, and ends with the same bits.

    Args:
        run: What is trained. If it keeps a moving average of its weights, validation looks at that.
        batches: As for `train`. With ``checkpoints`` a stream that can be replayed: a list, or one with a method
            ``skip(n)`` that returns the stream without its first ``n`` batches, as `course_lib.data.Batches` has.
        steps: Updates counted from the start of the run.
        accumulate: Batches per update.
        validation: Batches to evaluate on, iterated anew each time.
        every: Updates between two rows of the history; by default a twentieth of the way.
        early_stopping: Ends the run when validation no longer improves, and brings the best weights back.
        log: Gets a row for every update: the step's values, its learning rate, and validation where there was one.
        checkpoints: Where to go on from, and to save to with every row of the history. One folder for each call of
            `fit` that a script makes.
        progress: Whether to show a bar (under torchrun: in the first process).

    Returns:
        The losses of all updates, and a row for every ``every`` of them; those before a resumption included.

    Raises:
        ValueError: If the arguments do not fit together, or the checkpoint does not fit the run.
        NonFiniteStep: If an update was not finite.

    Warns:
        UserWarning: If the stream ended before ``steps``, the run was interrupted, or had stopped early before.

    Example:
        >>> import torch
        >>> from course_lib.loops import classification
        >>> model = torch.nn.Linear(2, 2)
        >>> run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> batch = (torch.eye(2), torch.tensor([0, 1]))
        >>> history = fit(run, [batch] * 20, steps=20, every=10, validation=[batch], progress=False)
        >>> history.column("step"), len(history.losses)
        ([10, 20], 20)
    """
    _check(validation, every, early_stopping)
    record = FitRecord(run, early_stopping, log)
    if checkpoints is not None:
        checkpoints.resume(run, fit=record)
        batches = _after(batches, run.consumed - record.first_consumed)
    updates = train(run, batches, steps=steps, accumulate=accumulate)
    if checkpoints is not None and log is not None and log.last_step is not None:
        log.resumed(run.index)
    history = record.history
    every = every or max(1, (steps - history.first_step) // 20)
    bar = ProgressBar(steps, initial=run.index, enabled=progress and rank() == 0)
    started, first, interrupted = time.perf_counter(), run.index, False
    stopped = _stopped_before(run, early_stopping)
    try:
        for step in () if stopped else updates:
            record.take(step)
            if step.index % every == 0 or step.index == steps:
                _close_row(record, run, validation)
                stopped = early_stopping is not None and early_stopping.stopped
                if checkpoints is not None:
                    checkpoints.save(run, fit=record)
            bar.update(step.index, _note(history))
            if stopped:
                break
    except KeyboardInterrupt:
        warnings.warn(f"interrupted after {run.index} of {steps} updates; the model keeps them.", stacklevel=2)
        interrupted = True
    except BaseException:
        record.finish()
        bar.close(f"failed after {run.index - first} updates")
        raise
    if record.has_news:
        if checkpoints is not None and not interrupted:  # whoever interrupts may do so in the middle of a step
            checkpoints.save(run, fit=record)  # before the extra row, which a run that goes on does not have
        _close_row(record, run, validation)
    record.finish()
    if run.index < steps and not (stopped or interrupted):
        warnings.warn(
            f"the stream ended after {run.index} of {steps} updates: give more batches (epochs=None never ends).",
            stacklevel=2,
        )
    if early_stopping is not None:
        early_stopping.restore(run.model, run.objective)
        history.best_step = early_stopping.best_step
    result = f": {_note(history)}" if history.rows else ""
    bar.close(f"{run.index - first} updates in {time.perf_counter() - started:.1f} s{result}")
    return history


def _check(validation: Iterable[Batch] | None, every: int | None, early_stopping: EarlyStopping | None) -> None:
    if early_stopping is not None and validation is None:
        raise ValueError("early stopping watches validation: give fit a validation stream, or no early_stopping.")
    if isinstance(validation, Iterator):
        raise ValueError("validation is used up after one pass: give a list, a DataLoader or Batches(..., epochs=1).")
    if validation is not None:
        refuse_endless(validation)
    if every is not None and every < 1:
        raise ValueError(f"every must be at least 1 update, got {every}.")


def _stopped_before(run: Run, early_stopping: EarlyStopping | None) -> bool:
    """Whether patience ran out in an earlier call already; refuse what has watched another run."""
    if early_stopping is None:
        return False
    if early_stopping.best_step is not None and early_stopping.best_step > run.index:
        raise ValueError(
            f"this EarlyStopping saw its best value at step {early_stopping.best_step}, but the run is at "
            f"{run.index}: it has watched another run. Make a new one for each run."
        )
    if early_stopping.stopped:
        warnings.warn(
            f"early stopping had ended this run already, at step {run.index}: no update is made.", stacklevel=3
        )
    return early_stopping.stopped


def _after(batches: Any, taken: int) -> Iterable[Batch]:
    """The stream without the batches that the run has taken from it already."""
    if isinstance(batches, list | tuple):
        return batches[taken:]
    if not hasattr(batches, "skip"):
        raise ValueError(
            f"a run with checkpoints must find its place in the data again, and this {type(batches).__name__} cannot: "
            "use course_lib.data.Batches, a list, or give the stream a method skip(n)."
        )
    remaining: Iterable[Batch] = batches.skip(taken)
    return remaining


def _close_row(record: FitRecord, run: Run, validation: Iterable[Batch] | None) -> None:
    record.add_row()
    if validation is not None:
        model = run.model if run.ema is None else run.ema.model
        record.add_validation(
            evaluate(model, run.objective, validation, precision=run.precision, generators=run.generators)
        )


def _note(history: History) -> str:
    """Say the latest loss and validation metrics in a few words."""
    shown = [] if not history.rows else [(k, v) for k, v in history.rows[-1].items() if k not in ("step", "grad_norm")]
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in shown)
