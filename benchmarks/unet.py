"""A training step of ``course_lib.nn.unet`` beside ``diffusers.UNet2DModel`` of the same shape, on the same weights.

Run it on an otherwise idle machine: ``python benchmarks/unet.py``. It takes about a minute, prints its table, and stops
with an error where the two have not learnt the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from course_lib.nn.unet import UNet
from course_lib.nn.unet_weights import diffusers_weights

NUM_CLASSES = 10
PEER = "diffusers"


@dataclass(frozen=True)
class Shape:
    """What both are built with and trained on."""

    name: str
    width: int
    multipliers: tuple[int, ...]
    num_blocks: int
    rows: int
    image_size: int


SHAPES = [
    Shape("8x8, 128 rows", 32, (1, 2), 1, 128, 8),
    Shape("28x28, 16 rows", 32, (1, 2), 1, 16, 28),
    Shape("28x28, three sizes, 8 rows", 32, (1, 2, 2), 2, 8, 28),
]


def pair(shape: Shape) -> tuple[nn.Module, UNet]:
    """The same U-Net, theirs and ours: plain blocks, one head of attention in the middle, as many groups."""
    from diffusers import UNet2DModel

    widths = tuple(shape.width * multiplier for multiplier in shape.multipliers)
    theirs = UNet2DModel(
        in_channels=1,
        out_channels=1,
        block_out_channels=widths,
        layers_per_block=shape.num_blocks,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        attention_head_dim=widths[-1],
        norm_num_groups=8,
        num_class_embeds=NUM_CLASSES + 1,
    )
    ours = UNet(
        width=shape.width,
        multipliers=shape.multipliers,
        num_blocks=shape.num_blocks,
        num_classes=NUM_CLASSES,
    )
    ours.load_state_dict(diffusers_weights(theirs.state_dict()))
    return theirs, ours


def training(model: nn.Module, predict: Callable[[Tensor, Tensor, Tensor], Tensor], shape: Shape) -> Iterator[Tensor]:
    """One AdamW update after the other on the same noisy images."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.train()
    while True:
        noise = torch.randn(shape.rows, 1, shape.image_size, shape.image_size, generator=generator)
        times = torch.rand(shape.rows, generator=generator)
        labels = torch.randint(0, NUM_CLASSES, (shape.rows,), generator=generator)
        optimizer.zero_grad()
        loss = (predict(noise, times, labels) - noise).square().mean()
        loss.backward()
        optimizer.step()
        yield loss.detach()


def loops_of(shape: Shape) -> dict[str, Iterator[Tensor]]:
    theirs, ours = pair(shape)

    def their_prediction(x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        return theirs(x, 1000 * times, labels + 1).sample

    return {"ours": training(ours, ours, shape), PEER: training(theirs, their_prediction, shape)}


def measure(loops: dict[str, Iterator[Tensor]], rounds: int, per_round: int) -> dict[str, list[tuple[float, float]]]:
    """Return CPU and wall seconds a step for each loop and round; the loops take turns step by step."""
    names = list(loops)
    for name in names:
        list(islice(loops[name], 2))  # allocate
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        seconds = {name: [0.0, 0.0] for name in names}
        for step in range(per_round):
            for place in range(len(names)):
                name = names[(place + step) % len(names)]
                cpu, wall = time.process_time(), time.perf_counter()
                next(loops[name])
                seconds[name][0] += time.process_time() - cpu
                seconds[name][1] += time.perf_counter() - wall
        for name in names:
            found[name].append((seconds[name][0] / per_round, seconds[name][1] / per_round))
    return found


def spread(numbers: list[float], digits: int) -> str:
    return f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f} to {max(numbers):,.{digits}f})"


def show(shape: Shape, num_parameters: int, found: dict[str, list[tuple[float, float]]]) -> None:
    """Print milliseconds a step, by CPU time and by the clock, and the ratio of pairs by CPU time."""
    for name, seconds in found.items():
        cpu, wall = ([1000 * second[clock] for second in seconds] for clock in (0, 1))
        ratios = [mine[0] / theirs[0] for mine, theirs in zip(seconds, found[PEER], strict=True)]
        ratio = "" if name == PEER else spread(ratios, 3)
        title = f"{shape.name}, {num_parameters:,} parameters"
        print(f"| {title} | {name} | {spread(cpu, 1)} | {spread(wall, 1)} | {ratio} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, at least 7 (default 11)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import diffusers

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, diffusers {diffusers.__version__}"
    print(f"{versions}; {platform.machine()} with {os.cpu_count()} CPUs, one thread; {arguments.rounds} rounds.\n")
    print("| shape | implementation | ms of CPU a step: median (range) | by the clock | ours over theirs |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    for shape in SHAPES:
        loops = loops_of(shape)
        found = measure(loops, arguments.rounds, per_round=2)
        torch.testing.assert_close(next(loops["ours"]), next(loops[PEER]), rtol=1e-4, atol=0)  # they learnt the same
        theirs, ours = pair(shape)
        sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (ours, theirs)]
        assert sizes[0] == sizes[1], f"they are not of one size: {sizes}"
        show(shape, sizes[0], found)


if __name__ == "__main__":
    main()
