"""A link between ranks as two numbers, latency and bandwidth, and how to fit them to what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from course_lib.distributed.planning.collective_costs import Algorithm, Collective, collective_cost


@dataclass(frozen=True, slots=True)
class CommunicationModel:
    """What a message costs: a latency, whatever its size, and its bytes at the link's bandwidth.

    A collective is a chain of messages, so its time is the number of messages on the chain times the latency, plus the
    bytes on the chain over the bandwidth. Small messages pay for latency, large ones for bandwidth; at
    `half_speed_bytes` for both alike.

    Args:
        latency_seconds: Of a message of no bytes.
        bytes_per_second: In one direction.

    Raises:
        ValueError: If the latency is negative or the bandwidth not positive.

    Example:
        >>> link = CommunicationModel(latency_seconds=5e-6, bytes_per_second=25e9)
        >>> link.seconds(0), round(link.seconds(2.5e9), 3)
        (5e-06, 0.1)
        >>> round(link.seconds(1e9, "all_reduce", num_ranks=8), 4)  # 14 messages, 14/8 of the bytes
        0.0701

    Reference: Hockney 1994, "The communication challenge for MPP: Intel Paragon and Meiko CS-2"; Patarasuk and Yuan
    2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"
    """

    latency_seconds: float
    bytes_per_second: float

    def __post_init__(self) -> None:
        if not 0 <= self.latency_seconds < math.inf or not self.bytes_per_second > 0:
            raise ValueError(
                "expected a latency of 0 or more seconds and a positive bandwidth, got "
                f"{self.latency_seconds} s and {self.bytes_per_second} bytes a second."
            )

    def seconds(
        self,
        num_bytes: float,
        collective: Collective = "send",
        *,
        num_ranks: int = 2,
        algorithm: Algorithm | None = None,
    ) -> float:
        """Return the time of a message, or of a collective over ranks that are all joined by such links.

        Args:
            num_bytes: Of the whole tensor, as `collective_cost` counts it.
            collective: What is done.
            num_ranks: That take part.
            algorithm: How; by default a ring, and a tree for a broadcast.

        Raises:
            ValueError: As `collective_cost`.
        """
        cost = collective_cost(collective, num_bytes, num_ranks=num_ranks, algorithm=algorithm)
        return cost.num_messages * self.latency_seconds + cost.chain_bytes / self.bytes_per_second

    @property
    def half_speed_bytes(self) -> float:
        """Size of the message that spends as long on latency as on bandwidth."""
        return self.latency_seconds * self.bytes_per_second


def fit_communication(
    num_bytes: Sequence[float],
    seconds: Sequence[float],
    collective: Collective = "send",
    *,
    num_ranks: int | Sequence[int] = 2,
    algorithm: Algorithm | None = None,
) -> CommunicationModel:
    """Fit latency and bandwidth to measured times, by least squares of the RELATIVE error.

    Relative, because times span decades: by plain least squares the largest message alone would decide. Measure small
    and large messages; take the median or the minimum of several repetitions.

    Args:
        num_bytes: Of each measurement, of the whole tensor.
        seconds: That it took.
        collective: That was timed.
        num_ranks: That took part, in all or in each.
        algorithm: As in `CommunicationModel.seconds`.

    Returns:
        The link that explains them best. A latency that would come out negative is 0.

    Raises:
        ValueError: If there are fewer than two sizes, a value is not positive, a rank was alone, or time does not grow
            with size.

    Example:
        >>> link = fit_communication([1e3, 1e6, 1e8], [11e-6, 110e-6, 10.01e-3])
        >>> round(link.latency_seconds * 1e6, 1), round(link.bytes_per_second / 1e9, 1)
        (10.9, 10.0)
    """
    sizes, times = np.asarray(num_bytes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if sizes.ndim != 1 or sizes.shape != times.shape or len(set(sizes.tolist())) < 2:
        raise ValueError(
            f"a fit needs times of at least two different sizes, one time each; got {sizes.tolist()} bytes and "
            f"{times.shape} times."
        )
    if not (np.isfinite(times) & (times > 0)).all() or not (np.isfinite(sizes) & (sizes >= 0)).all():
        raise ValueError("sizes must be 0 or more, and times positive and finite.")
    ranks = np.asarray(num_ranks)
    if ranks.shape not in ((), sizes.shape) or ranks.min() < 2:
        raise ValueError(
            f"num_ranks is one number for all {len(sizes)} measurements or one for each, from 2 (a rank alone sends "
            f"nothing); got {num_ranks}."
        )
    costs = [
        collective_cost(collective, float(size), num_ranks=int(rank), algorithm=algorithm)
        for size, rank in zip(sizes, np.broadcast_to(ranks, sizes.shape), strict=True)
    ]
    rows = np.array([[cost.num_messages, cost.chain_bytes] for cost in costs], dtype=np.float64) / times[:, None]
    latency, per_byte = _at_least_zero(rows)
    if not per_byte > 0:
        raise ValueError("the times do not grow with the size: measure larger messages.")
    return CommunicationModel(latency, 1 / per_byte)


def _at_least_zero(rows: NDArray[np.float64]) -> tuple[float, float]:
    """Solve ``rows @ (latency, per_byte) = 1`` by least squares with a latency of 0 or more."""
    scale = np.linalg.norm(rows, axis=0)
    solution = np.linalg.lstsq(rows / scale, np.ones(len(rows)), rcond=None)[0] / scale
    if solution[0] >= 0:
        return float(solution[0]), float(solution[1])
    bytes_only = rows[:, 1]
    return 0.0, float(bytes_only.sum() / (bytes_only @ bytes_only))
