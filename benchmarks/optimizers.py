"""What an update costs: the optimizers of ``course_lib.optim`` in their foreach form against torch's own.

Run it on an otherwise idle machine: ``python benchmarks/optimizers.py``. It prints the tables of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from step import spread
from torch import nn

from course_lib import optim

SLICES = 10  # into which the steps of a round are cut
WARM_UP = 3  # updates before the clock starts: the first one makes the state
LEARNING_RATE = 1e-5  # parameters stay about as they are: their gradients here never change

Shapes = list[tuple[int, ...]]
Build = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Pair:
    """One optimizer of ours and torch's with the same options, and the least dimension of what it updates."""

    name: str
    ours: Build
    theirs: Build
    least_dimensions: int = 0


def mlp() -> Shapes:
    """784-1000-200-10: 987,210 parameters in 6 tensors."""
    return [(1000, 784), (1000,), (200, 1000), (200,), (10, 200), (10,)]


def many_small() -> Shapes:
    """The matrices and biases of 150 layers 16-16: 40,800 parameters in 300 tensors."""
    return [(16, 16), (16,)] * 150


def pairs() -> list[Pair]:
    fast, rate = {"foreach": True}, {"lr": LEARNING_RATE}
    momentum = {"momentum": 0.9, **rate, **fast}
    bfloat16 = {**rate, "ns_dtype": "bfloat16"}
    return [
        Pair("SGD", lambda p: optim.SGD(p, **rate, **fast), lambda p: torch.optim.SGD(p, **rate, **fast)),
        Pair("SGD, momentum 0.9", lambda p: optim.SGD(p, **momentum), lambda p: torch.optim.SGD(p, **momentum)),
        Pair("RMSProp", lambda p: optim.RMSProp(p, **rate), lambda p: torch.optim.RMSprop(p, **rate, **fast)),
        Pair("Adam", lambda p: optim.Adam(p, **rate), lambda p: torch.optim.Adam(p, **rate, **fast)),
        Pair("AdamW", lambda p: optim.AdamW(p, **rate), lambda p: torch.optim.AdamW(p, **rate, **fast)),
        Pair("Adafactor", lambda p: optim.Adafactor(p, **rate), lambda p: torch.optim.Adafactor(p, **rate, **fast)),
        Pair("Muon (bfloat16)", lambda p: optim.Muon(p, **bfloat16), lambda p: torch.optim.Muon(p, **rate), 2),
    ]


def ready(build: Build, shapes: Shapes) -> torch.optim.Optimizer:
    """An optimizer over parameters that have their gradients, past its first steps."""
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer = build(parameters)
    take(optimizer, WARM_UP)
    return optimizer


def take(optimizer: torch.optim.Optimizer, steps: int) -> float:
    """CPU seconds of ``steps`` updates."""
    started = time.process_time()
    for _ in range(steps):
        optimizer.step()
    return time.process_time() - started


def measure(pair: Pair, shapes: Shapes, steps: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return CPU microseconds an update, ours and torch's, one number a round.

    A round gives both their steps in slices that take turns, so that a machine that is now faster and now slower treats
    both alike.
    """
    kept = [shape for shape in shapes if len(shape) >= pair.least_dimensions]
    optimizers = ready(pair.ours, kept), ready(pair.theirs, kept)
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        seconds = [0.0, 0.0]
        for number in range(SLICES):
            for side in (0, 1) if number % 2 else (1, 0):
                seconds[side] += take(optimizers[side], max(1, steps // SLICES))
        for side in (0, 1):
            found[side].append(seconds[side] / (SLICES * max(1, steps // SLICES)) * 1e6)
    return found


def show(title: str, shapes: Shapes, steps: int, rounds: int) -> None:
    numbers = sum(int(torch.Size(shape).numel()) for shape in shapes)
    print(f"\n**{title}**: {numbers:,} parameters in {len(shapes)} tensors; microseconds an update, {rounds} rounds\n")
    print("| optimizer | ours: median (range) | torch: median (range) | ours / torch: median (range) of pairs |")
    print("| --- | ---: | ---: | ---: |")
    for pair in pairs():
        ours, theirs = measure(pair, shapes, steps, rounds)
        ratio = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        print(f"| {pair.name} | {spread(ours)} | {spread(theirs)} | {spread(ratio, 2)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, at least 7 (default 11)")
    parser.add_argument("--steps", type=int, default=200, help="updates of each side in a round (default 200)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Python {platform.python_version()}, torch {torch.__version__}; ", end="")
    print(f"{platform.machine()} with {os.cpu_count()} CPUs, one thread.")
    show("MLP 784-1000-200-10", mlp(), arguments.steps // 4, arguments.rounds)
    show("many small tensors", many_small(), arguments.steps, arguments.rounds)


if __name__ == "__main__":
    main()
