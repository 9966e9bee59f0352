"""Data parallelism from two workers to thousands: time of a step, strong and weak scaling, overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.distributed.planning.clusters import Cluster
from course_lib.distributed.planning.collective_costs import Algorithm
from course_lib.distributed.planning.links import CommunicationModel

BACKWARD_SHARE = 2 / 3  # of a step's arithmetic: two matrix products going back for each one going forward


@dataclass(frozen=True, slots=True)
class ScalingPoint:
    """One number of workers on a scaling curve.

    Args:
        num_ranks: Workers.
        compute_seconds: Of each worker's own arithmetic in a step.
        exposed_seconds: Of communication that nothing hides.
        speedup: In rows a second, against one worker.
    """

    num_ranks: int
    compute_seconds: float
    exposed_seconds: float
    speedup: float

    @property
    def step_seconds(self) -> float:
        """Of a step."""
        return self.compute_seconds + self.exposed_seconds

    @property
    def efficiency(self) -> float:
        """Speedup over workers: 1 is perfect."""
        return self.speedup / self.num_ranks


def exposed_seconds(communication_seconds: float, compute_seconds: float, *, overlap: float) -> float:
    """Return how much of a gradient's all-reduce sticks out from under the backward pass.

    Args:
        communication_seconds: Of the whole all-reduce.
        compute_seconds: Of the step's arithmetic; two thirds of it are the backward pass.
        overlap: Share of the backward pass under which communication can hide: 0 without overlap, near 1 with buckets
            (the first bucket must be computed before anything can be sent, and the last one is sent after the end).

    Raises:
        ValueError: If the share is not in [0, 1].

    Example:
        >>> exposed_seconds(0.5, 0.6, overlap=0.0), round(exposed_seconds(0.5, 0.6, overlap=1.0), 6)
        (0.5, 0.1)
    """
    if not 0 <= overlap <= 1:
        raise ValueError(f"overlap is a share of the backward pass, in [0, 1]; got {overlap}.")
    return max(0.0, communication_seconds - overlap * BACKWARD_SHARE * compute_seconds)


def strong_scaling(
    *,
    compute_seconds: float,
    gradient_bytes: float,
    num_ranks: Sequence[int],
    link: CommunicationModel | Cluster,
    overlap: float = 0.0,
    algorithm: Algorithm = "ring",
) -> list[ScalingPoint]:
    """Return the curve for ONE batch split among ever more workers: their share of it shrinks, gradients do not.

    Args:
        compute_seconds: That one worker needs for the whole batch.
        gradient_bytes: Of all gradients.
        num_ranks: The numbers of workers.
        link: Between any two of them, or a cluster they are on.
        overlap: As in `exposed_seconds`.
        algorithm: Of the all-reduce; a cluster works by rings alone, in two levels.

    Raises:
        ValueError: If a time, size or number of workers is not positive, or a cluster is asked for another algorithm.

    Example:
        >>> link = CommunicationModel(latency_seconds=20e-6, bytes_per_second=20e9)
        >>> curve = strong_scaling(compute_seconds=8.0, gradient_bytes=2e9, num_ranks=[1, 8, 64, 512], link=link)
        >>> [round(point.efficiency, 2) for point in curve]
        [1.0, 0.85, 0.39, 0.07]
    """
    compute = [compute_seconds / max(1, ranks) for ranks in num_ranks]
    return _curve(compute, compute_seconds, gradient_bytes, num_ranks, link, overlap, algorithm, weak=False)


def weak_scaling(
    *,
    compute_seconds: float,
    gradient_bytes: float,
    num_ranks: Sequence[int],
    link: CommunicationModel | Cluster,
    overlap: float = 0.0,
    algorithm: Algorithm = "ring",
) -> list[ScalingPoint]:
    """Return the curve for a batch that grows with the workers: each has as many rows as one worker alone.

    A ring's bytes per worker hardly grow, so efficiency stays up until latencies add up. Whether the larger batch
    still learns as much per row is another question: see `CriticalBatch`.

    Args:
        compute_seconds: That a worker needs for its rows.
        gradient_bytes: Of all gradients.
        num_ranks: The numbers of workers.
        link: Between any two of them, or a cluster they are on.
        overlap: As in `exposed_seconds`.
        algorithm: Of the all-reduce; a cluster works by rings alone, in two levels.

    Raises:
        ValueError: If a time, size or number of workers is not positive, or a cluster is asked for another algorithm.

    Example:
        >>> link = CommunicationModel(latency_seconds=20e-6, bytes_per_second=20e9)
        >>> curve = weak_scaling(compute_seconds=0.5, gradient_bytes=2e9, num_ranks=[1, 8, 4096], link=link)
        >>> [round(point.efficiency, 2) for point in curve]
        [1.0, 0.74, 0.58]
    """
    compute = [compute_seconds] * len(num_ranks)
    return _curve(compute, compute_seconds, gradient_bytes, num_ranks, link, overlap, algorithm, weak=True)


def _curve(
    compute: Sequence[float],
    alone: float,
    gradient_bytes: float,
    num_ranks: Sequence[int],
    link: CommunicationModel | Cluster,
    overlap: float,
    algorithm: Algorithm,
    *,
    weak: bool,
) -> list[ScalingPoint]:
    if not 0 < alone < math.inf or not 0 <= gradient_bytes < math.inf or min(num_ranks, default=0) < 1:
        raise ValueError(
            f"expected a positive time, 0 or more bytes and numbers of workers from 1; got {alone}, {gradient_bytes} "
            f"and {list(num_ranks)}."
        )
    if isinstance(link, Cluster) and algorithm != "ring":
        raise ValueError(f"a cluster works by rings in two levels, got algorithm={algorithm!r}: give one link instead.")
    points = []
    for seconds, ranks in zip(compute, num_ranks, strict=True):
        if isinstance(link, Cluster):
            communication = link.seconds("all_reduce", gradient_bytes, num_ranks=ranks)
        else:
            communication = link.seconds(gradient_bytes, "all_reduce", num_ranks=ranks, algorithm=algorithm)
        exposed = exposed_seconds(communication, seconds, overlap=overlap)
        rows = ranks if weak else 1
        points.append(ScalingPoint(ranks, seconds, exposed, rows * alone / (seconds + exposed)))
    return points
