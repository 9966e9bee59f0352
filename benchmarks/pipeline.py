"""How long stages of a pipeline wait, on the clock: stages that sleep, so that they overlap on however few processors.

Run it on an otherwise idle machine: ``python benchmarks/pipeline.py``. It prints a table of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.distributed import Pipeline, TorchPipeline, bubble_share, device_mesh, launch
from course_lib.loops import Run, regression

FORWARD_SECONDS, BACKWARD_SECONDS = 0.04, 0.08
ENGINES = {"by hand": Pipeline, "torch": TorchPipeline}


class _Nap(torch.autograd.Function):
    """The identity, but it takes its time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        time.sleep(FORWARD_SECONDS)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        time.sleep(BACKWARD_SECONDS)
        return gradients[0]


class SleepingStage(nn.Module):
    """One number that learns, and a nap in each direction."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Sleep now, and later in the backward pass."""
        slept: Tensor = _Nap.apply(self.weight * x)  # type: ignore[no-untyped-call]
        return slept


def seconds_of_steps(engine: str, schedule: Any, num_micro_batches: int, repeats: int) -> list[float]:
    """Seconds of each update, from a common start to the end of the last stage."""
    stage = SleepingStage()
    gradients = ENGINES[engine](stage, device_mesh(pp=world_size()), schedule=schedule)
    run = Run(stage, regression, torch.optim.SGD(stage.parameters(), lr=1e-3), gradients=gradients)
    batches = [(torch.ones(2, 3), torch.zeros(2, 3))] * num_micro_batches
    run.step(*batches)  # shapes are told
    times = []
    for _ in range(repeats):
        dist.barrier()
        start = time.perf_counter()
        run.step(*batches)
        dist.barrier()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Print measured shares of waiting beside the formula."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print("| stages | micro-batches | formula | engine | measured: median (range) | over the formula |")
    print("| --- | --- | --- | --- | --- | --- |")
    for stages, micro_batches in ((2, 4), (4, 4), (4, 8)):
        busy = micro_batches * (FORWARD_SECONDS + BACKWARD_SECONDS)
        ideal = bubble_share(stages, micro_batches)
        for engine, schedule in (("by hand", "gpipe"), ("by hand", "1f1b"), ("torch", "gpipe"), ("torch", "1f1b")):
            results = launch(
                seconds_of_steps, engine, schedule, micro_batches, repeats, num_workers=stages, timeout=200
            )
            shares = sorted(1 - busy / seconds for seconds in results[0])
            median = statistics.median(shares)
            print(
                f"| {stages} | {micro_batches} | {ideal:.3f} | {engine}, {schedule} | "
                f"{median:.3f} ({shares[0]:.3f} to {shares[-1]:.3f}) | {median / ideal - 1:+.1%} |"
            )


if __name__ == "__main__":
    main()
