"""Local SGD and DiLoCo in one process: all workers take turns, with the same numbers as on real ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import torch
from torch import nn

from course_lib.distributed.large_batches.outer_step import OuterStep
from course_lib.loops import Run, Step, train
from course_lib.loops.loss import Batch


def simulate_diloco(
    runs: Sequence[Run],
    streams: Sequence[Iterable[Batch]],
    *,
    every: int,
    steps: int,
    outer_rate: float = 0.7,
    outer_momentum: float = 0.9,
) -> Iterator[list[Step]]:
    """Train one run per worker, and let them meet every ``every`` updates as `DiLoCo` does on real ranks.

    Args:
        runs: One a worker, each with a model of its own; all begin with the first one's parameters.
        streams: One a worker: ``Batches(..., rank=worker, world_size=len(runs))`` gives it the rows of that rank.
        every: Updates between meetings.
        steps: Updates of each worker.
        outer_rate: Learning rate of the outer step. 1 with no momentum is local SGD.
        outer_momentum: Nesterov momentum of the outer step.

    Returns:
        An iterator over what each worker's update gave, one list an update; after a meeting all models are equal.

    Raises:
        ValueError: If there is no worker, not one stream for each, or two share a model; while iterating, if a stream
            ends before the others.
        NonFiniteStep: If a worker's update was not finite.

    Example:
        >>> from course_lib.loops import regression
        >>> models = [nn.Linear(1, 1) for _ in range(3)]
        >>> runs = [Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1)) for model in models]
        >>> streams = [[(torch.full((2, 1), float(worker)), torch.ones(2, 1))] * 4 for worker in range(3)]
        >>> for updates in simulate_diloco(runs, streams, every=2, steps=4):
        ...     pass
        >>> len(updates), bool((models[0].weight == models[2].weight).all())
        (3, True)

    Reference: Douillard et al. 2023, "DiLoCo: distributed low-communication training of language models", algorithm 1,
    https://arxiv.org/abs/2311.08105
    """
    if not runs or len(runs) != len(streams) or len({id(run.model) for run in runs}) < len(runs):
        raise ValueError(
            f"expected a run with a model of its own and a stream for each worker, got {len(runs)} runs with "
            f"{len({id(run.model) for run in runs})} models and {len(streams)} streams."
        )
    if every < 1:
        raise ValueError(f"every must be at least 1 update, got {every}.")
    with torch.no_grad():
        for run in runs[1:]:
            for own, first in zip(run.model.parameters(), runs[0].model.parameters(), strict=True):
                own.copy_(first)
    parameters = [_trainable(run.model) for run in runs]
    outer = OuterStep(parameters[0], rate=outer_rate, momentum=outer_momentum)
    workers = [train(run, stream, steps=steps) for run, stream in zip(runs, streams, strict=True)]
    return _rounds(workers, parameters, outer, every)


def _rounds(
    workers: Sequence[Iterator[Step]], parameters: Sequence[list[nn.Parameter]], outer: OuterStep, every: int
) -> Iterator[list[Step]]:
    for made in zip_longest(*workers):
        updates = [step for step in made if step is not None]
        if len(updates) < len(made):
            ended = [worker for worker, step in enumerate(made) if step is None]
            raise ValueError(f"the streams of workers {ended} ended before the others: give all as many batches.")
        if updates[0].index % every == 0:
            with torch.no_grad():
                average = [torch.stack(same).sum(dim=0) / len(same) for same in zip(*parameters, strict=True)]
            outer.step(average)
            for own in parameters:
                outer.give(own)
        yield updates


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
