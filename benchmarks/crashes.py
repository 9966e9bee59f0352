"""Kills a training run 50 times with ``kill -9`` while it saves every step, and counts what was lost.

Run it: ``python benchmarks/crashes.py`` (not on Windows, which cannot fork). Each time a new process goes on from the
newest whole checkpoint. At the end the weights are compared, bit for bit, with those of a run that was never killed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from course_lib.data import Batches
from course_lib.loops import EMA, Checkpoints, Run, classification, train
from course_lib.loops.checkpoints.checkpoint_files import listed, read, whole

WIDTH = 256  # with Adam's averages and the moving one 4 MB: long enough in writing to be hit there
LONGEST = 0.5  # seconds until the kill, after the first save
GIVE_UP = 120.0  # seconds for a process to save anything at all


def new_run() -> Run:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Linear(20, WIDTH), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        nn.Linear(WIDTH, 10),
    )
    return Run(
        model,
        classification,
        torch.optim.AdamW(model.parameters()),
        schedule=lambda step: 1 / (1 + step),
        ema=EMA(model),
    )


def batches() -> Batches:
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(500, 20, generator=generator), torch.randint(0, 10, (500,), generator=generator)
    return Batches(data, batch_size=32, seed=2)


def train_and_save(folder: Path, promises: Path) -> None:
    """Go on for ever, writing down each step whose checkpoint is safe."""
    run, checkpoints = new_run(), Checkpoints(folder)
    checkpoints.resume(run)
    with open(promises, "a") as lines:
        for step in train(run, batches().skip(run.consumed), steps=sys.maxsize):
            checkpoints.save(run)
            print(step.index, file=lines, flush=True)


def num_promised(promises: Path) -> int:
    return promises.read_text().count("\n") if promises.exists() else 0


def kill_one(folder: Path, promises: Path, wait_seconds: float) -> str:
    """Start a process, kill it, and return where it was hit, by what it left lying about."""
    before, child = num_promised(promises), os.fork()
    if child == 0:
        try:
            train_and_save(folder, promises)
        finally:
            os._exit(1)
    deadline = time.monotonic() + GIVE_UP
    while num_promised(promises) == before:
        if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG)[0]:
            raise SystemExit("a process saved nothing, or ended by itself")
        time.sleep(0.001)
    time.sleep(wait_seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left = sorted(path for path in folder.iterdir() if path.name.startswith((".saving", ".removing")))
    if not left:
        return "between saves, or in the last moment of one"
    if left[0].name.startswith(".removing"):
        return "while removing an old one"
    return f"while saving, with {len(list(left[0].iterdir()))} files there"


def last_step(path: Path) -> int:
    return int(path.name.rpartition("_")[2])


def differs(path: Path) -> bool:
    """Whether a checkpoint differs from a run that made as many steps without ever being stopped."""
    run, saved = new_run(), read(path)["shared"]["run"]
    for _ in train(run, batches(), steps=last_step(path)):
        pass
    state = run.state_dict()
    return not all(torch.equal(saved["model"][name], tensor) for name, tensor in state["model"].items()) or not all(
        torch.equal(saved["ema"]["model"][name], tensor) for name, tensor in state["ema"]["model"].items()
    )


def main() -> None:
    """Print the counts, and exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)  # forked processes share no thread pool
    new_run()  # the first optimizer imports 800 modules: once, not after every kill
    root, rng = Path(tempfile.mkdtemp()), random.Random(0)
    folder, promises, where, lost = root / "run", root / "promised", Counter[str](), 0
    try:
        for _ in range(options.kills):
            where[kill_one(folder, promises, rng.uniform(0, LONGEST))] += 1
            promised = int(promises.read_text().split("\n")[-2])
            good = whole(folder)
            lost += not good or good != listed(folder) or last_step(good[-1]) not in (promised, promised + 1)
        newest = whole(folder)[-1]
        wrong = differs(newest)
        print(f"{options.kills} kills in {last_step(newest)} steps; {lost} lost a checkpoint that had been promised")
        for place, count in sorted(where.items()):
            print(f"- {count} {place}")
        print(f"the last checkpoint {'DIFFERS from' if wrong else 'has the bits of'} a run that was never killed")
    finally:
        shutil.rmtree(root)
    raise SystemExit(bool(lost or wrong))


if __name__ == "__main__":
    main()
