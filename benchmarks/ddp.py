"""What ``Run`` costs on top of torch's DistributedDataParallel: two processes on one machine, 2 million parameters.

Run it on an otherwise idle machine: ``python benchmarks/ddp.py``. It prints a table of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Iterator
from typing import Any

import step as plain
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from course_lib.distributed import DDP, launch
from course_lib.loops import Run, classification, train

ROWS, PROCESSES, SLICE = 256, 2, 2


def two_million() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


def fused_sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=plain.LEARNING_RATE, momentum=0.9, fused=True)


class Stream:
    """Ready-made batches, each rank its own."""

    split_by_rank = True

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return itertools.cycle(self._batches)


def ours(stream: Stream, *, engine: bool) -> Iterator[Any]:
    model = two_million()
    options: dict[str, Any] = {"gradients": DDP(model)} if engine else {}
    run = Run(model, classification, fused_sgd(model), **options)
    yield from train(run, stream, steps=10**9)


def bare(stream: Stream, *, same_work: bool) -> Iterator[Any]:
    """As the tutorial writes it; with ``same_work`` it also knows all ranks' loss and accuracy, and refuses a nan.

    It then takes the option by which ours saves a copy of the gradients as well.
    """
    model = two_million()
    engine, optimizer = DistributedDataParallel(model, gradient_as_bucket_view=same_work), fused_sgd(model)
    for x, y in stream:
        optimizer.zero_grad()
        logits = engine(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        if same_work:
            right = (logits.detach().argmax(-1) == y).sum()
            numbers = torch.stack([loss.detach(), right / len(y)])
            dist.all_reduce(numbers)
            norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
            if not (math.isfinite(norm.item()) and math.isfinite(numbers[0].item())):
                raise RuntimeError("not finite")
        optimizer.step()
        yield loss


def measure(rounds: int, steps: int, clock: str) -> dict[str, list[float]]:
    """Milliseconds a step of each loop in each round: the median of its slices of a few steps.

    Loops take turns after every slice, on both ranks together, in all orders that there are: what goes before leaves
    other memory in the caches, and a machine is now faster and now slower.
    """
    torch.set_num_threads(1)
    now = time.perf_counter if clock == "wall" else time.process_time
    stream = Stream(plain.random_batches(ROWS, 784, seed=dist.get_rank()))
    loops = {
        "Run with DDP": ours(stream, engine=True),
        "Run alone": ours(stream, engine=False),
        "bare, same work": bare(stream, same_work=True),
        "bare, least work": bare(stream, same_work=False),
    }
    for loop in loops.values():
        for _ in range(10):
            next(loop)
    found: dict[str, list[float]] = {name: [] for name in loops}
    orders = itertools.cycle(itertools.permutations(loops))
    for _ in range(rounds):
        spent: dict[str, list[float]] = {name: [] for name in loops}
        for order in itertools.islice(orders, steps // SLICE):
            for name in order:
                dist.barrier()
                started = now()
                for _ in range(SLICE):
                    next(loops[name])
                spent[name].append(1000 * (now() - started) / SLICE)
        for name, slices in spent.items():
            found[name].append(statistics.median(slices))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="rounds, at least 7 (default 15)")
    parser.add_argument("--steps", type=int, default=48, help="steps of a loop in a round (default 48)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: of all threads (default wall)")
    arguments = parser.parse_args()
    found = launch(measure, arguments.rounds, arguments.steps, arguments.clock, num_workers=PROCESSES, timeout=1800.0)[
        0
    ]
    print(f"MLP of 1.86M parameters, {ROWS} rows a rank, {PROCESSES} ranks, {arguments.clock} time")
    print(f"{arguments.rounds} rounds of {arguments.steps} steps")
    for name, numbers in found.items():
        line = f"{name}: {plain.spread(numbers, 2)} milliseconds a step"
        if name.startswith("Run"):
            for peer in ("bare, same work", "bare, least work"):
                ratios = [mine / theirs for mine, theirs in zip(numbers, found[peer], strict=True)]
                line += f"; over {peer}: {plain.spread(ratios, 3)}"
        print(line)


if __name__ == "__main__":
    main()
