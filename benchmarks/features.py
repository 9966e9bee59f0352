"""What a schedule, clipping and a log cost together: ``Run`` against a bare loop that does the same, 1M parameters.

Run it on an otherwise idle machine: ``python benchmarks/features.py``. It prints a table of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import step as plain
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.loops import Run, RunLog, classification, train
from course_lib.optim.schedules import warmup_cosine

TOTAL, WARMUP, CLIP = 10_000, 100, 1.0


def million() -> nn.Module:
    """An MLP of 1.01 million parameters."""
    return nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 720), nn.ReLU(), nn.Linear(720, 10))


def ours(task: plain.Task, folder: Path) -> Iterator[Any]:
    model = task.make_model()
    schedule = partial(warmup_cosine, total=TOTAL, warmup=WARMUP)
    run = Run(model, classification, plain.sgd(model), schedule=schedule, max_grad_norm=CLIP)
    with RunLog(folder / "ours.jsonl", settings={"lr": plain.LEARNING_RATE}) as log:
        for step in train(run, itertools.cycle(task.batches), steps=sys.maxsize):
            log.record(step.index, learning_rate=step.learning_rate, **step.values())
            yield step


def bare(task: plain.Task, folder: Path) -> Iterator[Any]:
    """The same work by hand: the rate set, the norm clipped, a nan refused, a line of JSON written at each step."""
    model = task.make_model()
    optimizer = plain.sgd(model)
    with open(folder / "bare.jsonl", "ab", buffering=0) as log:
        for index, (x, y) in enumerate(itertools.cycle(task.batches)):
            rate = plain.LEARNING_RATE * warmup_cosine(index, total=TOTAL, warmup=WARMUP)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            accuracy = (logits.detach().argmax(-1) == y).sum() / len(y)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            row = {"step": index + 1, "learning_rate": rate, "loss": loss.item(), "grad_norm": norm.item()}
            if not (math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])):
                raise RuntimeError("not finite")
            optimizer.step()
            log.write(json.dumps({**row, "accuracy": accuracy.item()}).encode() + b"\n")
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, at least 7 (default 11)")
    parser.add_argument("--steps", type=int, default=200, help="steps in a round (default 200)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = plain.Task("MLP of 1.01M parameters, 64 rows", million, plain.random_batches(64, 256), arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        loops = {"course_lib": ours(task, Path(folder)), "bare": bare(task, Path(folder))}
        found = plain.measure(task, loops, arguments.rounds)
        for loop in loops.values():
            loop.close()
    ratios = [mine / theirs for mine, theirs in zip(found["course_lib"], found["bare"], strict=True)]
    print(
        f"{task.name}, schedule, clipping and log on; {arguments.rounds} rounds of {arguments.steps} steps, one thread"
    )
    for name, numbers in found.items():
        print(f"{name}: {plain.spread(numbers)} microseconds a step")
    print(f"ratio: {plain.spread(ratios, 3)}")


if __name__ == "__main__":
    main()
