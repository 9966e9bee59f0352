"""The loop itself: a generator of updates, so that the caller's ``for`` decides what happens in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from course_lib.collectives import world_size
from course_lib.loops.loss import Batch
from course_lib.loops.run import Run
from course_lib.loops.step import Step


def train(run: Run, batches: Iterable[Batch], *, steps: int, accumulate: int = 1) -> Iterator[Step]:
    """Step ``run`` until it has made ``steps`` updates, yielding each; the caller prints, plots, saves and stops.

    Arguments are checked at the call, not at the first iteration. A stream that ends early ends the run.

    Args:
        run: What is trained; it keeps its place, so a second call goes on where the first stopped.
        batches: A stream of batches. Under torchrun it must say that it is split by rank already, as
            `course_lib.data.Batches` does by an attribute ``split_by_rank = True``: otherwise every rank would
            train on the same rows. One that has a ``world_size`` must share its rows among at least the ranks that
            the run adds up over.
        steps: Updates counted from the start of the run, not of this call.
        accumulate: Batches per update. A last group that is not full is dropped, so every update sees as much.

    Raises:
        ValueError: If ``steps`` lies behind the run, ``accumulate`` is less than 1, or the stream is not split.
        NonFiniteStep: While iterating; a deferred verdict that nobody has read is read when the loop ends by itself.

    Example:
        >>> import torch
        >>> from course_lib.loops import Run, regression
        >>> model = torch.nn.Linear(1, 1)
        >>> run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> batch = (torch.ones(4, 1), torch.ones(4, 1))
        >>> [step.index for step in train(run, [batch] * 10, steps=3)]
        [1, 2, 3]
    """
    if steps < run.index:
        raise ValueError(f"steps counts from the start of the run: it is at {run.index} already, got steps={steps}.")
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, got {accumulate}.")
    if world_size() > 1 and not getattr(batches, "split_by_rank", False):
        raise ValueError(
            f"{world_size()} processes would all train on the same rows of this {type(batches).__name__}: use "
            "course_lib.data.Batches, or set split_by_rank = True on a stream that gives each rank its own rows."
        )
    sharing, dealt = world_size(run.over_ranks.group), getattr(batches, "world_size", None) or world_size()
    if dealt < sharing:
        raise ValueError(
            f"the rows are dealt out among {dealt} ranks, but the run adds up over {sharing}: some would count more "
            "than once. Give the stream the rank and world_size of the group that its engine adds up over, or neither."
        )
    return _train(run, iter(batches), steps, accumulate)


def _train(run: Run, stream: Iterator[Batch], steps: int, accumulate: int) -> Iterator[Step]:
    step = None
    while run.index < steps:
        micro_batches = tuple(islice(stream, accumulate))
        if len(micro_batches) < accumulate:
            break
        step = run.step(*micro_batches)
        yield step
    if step is not None:
        step.health.check()  # a verdict that was deferred and that nobody has read
