"""Training in one line: the loop with a bar, validation, early stopping and a record of it all."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator

import torch

from course_lib.collectives import rank
from course_lib.loops.early_stopping import EarlyStopping
from course_lib.loops.evaluation import evaluate, refuse_endless
from course_lib.loops.history import History
from course_lib.loops.loss import Batch
from course_lib.loops.progress_bar import ProgressBar
from course_lib.loops.run import Run
from course_lib.loops.step import Step
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
    progress: bool = True,
) -> History:
    """Train ``run`` until it has made ``steps`` updates; return what happened.

    The loop is `train`; everything here happens between its updates and never changes them. Stopped by hand
    (Ctrl-C, or JupyterLab's stop button) it ends with a warning and returns what it has.

    Args:
        run: What is trained.
        batches: As for `train`.
        steps: Updates counted from the start of the run.
        accumulate: Batches per update.
        validation: Batches to evaluate on, iterated anew each time.
        every: Updates between two rows of the history; by default a twentieth of the way.
        early_stopping: Ends the run when validation no longer improves, and brings the best weights back.
        progress: Whether to show a bar (under torchrun: in the first process).

    Returns:
        The losses of all updates, and a row for every ``every`` of them.

    Raises:
        ValueError: If the arguments do not fit together.
        NonFiniteStep: If an update was not finite.

    Warns:
        UserWarning: If the stream ended before ``steps``, or the run was interrupted.

    Example:
        >>> from course_lib.loops import classification
        >>> model = torch.nn.Linear(2, 2)
        >>> run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> batch = (torch.eye(2), torch.tensor([0, 1]))
        >>> history = fit(run, [batch] * 20, steps=20, every=10, validation=[batch], progress=False)
        >>> history.column("step"), len(history.losses)
        ([10, 20], 20)
    """
    if early_stopping is not None and validation is None:
        raise ValueError("early stopping watches validation: give fit a validation stream, or no early_stopping.")
    if isinstance(validation, Iterator):
        raise ValueError("validation is used up after one pass: give a list, a DataLoader or Batches(..., epochs=1).")
    if validation is not None:
        refuse_endless(validation)
    if every is not None and every < 1:
        raise ValueError(f"every must be at least 1 update, got {every}.")
    updates = train(run, batches, steps=steps, accumulate=accumulate)
    every = every or max(1, (steps - run.index) // 20)
    history, unread = History(first_step=run.index), list[Step]()
    bar = ProgressBar(steps, initial=run.index, enabled=progress and rank() == 0)
    started, stopped = time.perf_counter(), False
    try:
        for step in updates:
            unread.append(step)
            if step.index % every == 0 or step.index == steps:
                stopped = _record(history, unread, run, validation, early_stopping)
            bar.update(step.index, _note(history))
            if stopped:
                break
    except KeyboardInterrupt:
        warnings.warn(f"interrupted after {run.index} of {steps} updates; they are kept.", stacklevel=2)
        stopped = True
    except BaseException:
        bar.close(f"failed after {run.index - history.first_step} updates")
        raise
    if unread:
        _record(history, unread, run, validation, early_stopping)
    if run.index < steps and not stopped:
        warnings.warn(
            f"the stream ended after {run.index} of {steps} updates: give more batches (epochs=None never ends).",
            stacklevel=2,
        )
    made = run.index - history.first_step
    if early_stopping is not None:
        early_stopping.restore(run.model)
        history.best_step = early_stopping.best_step
    result = f": {_note(history)}" if history.rows else ""
    bar.close(f"{made} updates in {time.perf_counter() - started:.1f} s{result}")
    return history


def _record(
    history: History,
    unread: list[Step],
    run: Run,
    validation: Iterable[Batch] | None,
    early_stopping: EarlyStopping | None,
) -> bool:
    """Move the losses of ``unread`` steps and one evaluation into ``history``; return whether to stop."""
    last = unread[-1].values()  # raises if one of them was not finite
    losses = torch.stack([step.loss for step in unread]).tolist()
    counts = torch.stack([torch.as_tensor(step.count) for step in unread]).tolist()
    history.losses += losses
    unread.clear()
    mean = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)  # over targets
    row: dict[str, float] = {"step": run.index, "loss": mean, "grad_norm": last["grad_norm"]}
    history.rows.append(row)
    if validation is None:
        return False
    metrics = evaluate(run.model, run.objective, validation)
    row.update({f"validation_{name}": value for name, value in metrics.items()})
    return early_stopping is not None and early_stopping.update(run.model, run.index, metrics)


def _note(history: History) -> str:
    """Say the latest loss and validation metrics in a few words."""
    shown = [] if not history.rows else [(k, v) for k, v in history.rows[-1].items() if k not in ("step", "grad_norm")]
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in shown)
