"""What a checkpoint of 100 MB costs: ``Checkpoints.save`` against a bare ``safetensors.torch.save_file``.

Run it on an otherwise idle machine: ``python benchmarks/checkpoint.py``. It prints the table of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from step import spread
from torch import Tensor, nn

from course_lib.loops import Checkpoints, Run, regression

LIMIT = 3.0  # times the bare write
WIDTH, LAYERS = 1024, 8  # with Adam's two averages 100 MB in 32-bit numbers


def new_run() -> Run:
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    run = Run(model, regression, torch.optim.Adam(model.parameters()))
    run.step((torch.ones(1, WIDTH), torch.ones(1, WIDTH)))
    return run


def plain_tensors(run: Run) -> dict[str, Tensor]:
    """The same numbers as a checkpoint holds, without the rest of it."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    for number, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    return {**tensors, "random": torch.get_rng_state()}


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def sync(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def bare_write(path: Path, tensors: dict[str, Tensor], *, synced: bool) -> None:
    """Over the file of the round before, as one does without checkpoints: so this side removes an old file too."""
    save_file(tensors, path)
    if synced:
        sync(path)


def bare_load(path: Path) -> list[Tensor]:
    return [tensor.clone() for tensor in load_file(path).values()]  # what load_file returns is still on the disk


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    run, again = new_run(), new_run()
    tensors, checkpoints = plain_tensors(run), Checkpoints(folder / "run")
    megabytes = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
    print(f"{megabytes:.0f} MB in {len(tensors)} tensors, {rounds} rounds\n")
    actions: list[tuple[str, Callable[[], object]]] = [
        ("save", lambda: checkpoints.save(run)),
        ("bare, synced", lambda: bare_write(folder / "synced.safetensors", tensors, synced=True)),
        ("bare", lambda: bare_write(folder / "bare.safetensors", tensors, synced=False)),
        ("resume", lambda: checkpoints.resume(again)),
        ("bare load", lambda: bare_load(folder / "bare.safetensors")),
    ]
    times: dict[str, list[float]] = {name: [] for name, _ in actions}
    for number in range(-2, rounds):  # two to warm up; from the third save on the oldest is removed, as in a real run
        writes, reads = actions[:3], actions[3:]
        for name, action in (writes if number % 2 else writes[::-1]) + reads:
            os.sync()  # nobody waits for what another has left unwritten
            milliseconds = timed(action)
            if number >= 0:
                times[name].append(milliseconds)
    return times


def report(times: dict[str, list[float]]) -> float:
    """Print the table; return how many times as long as a bare write a save takes."""
    print("| | milliseconds: median (range) | ours over it: median (range) of pairs |\n| --- | ---: | ---: |")
    save_over_bare = 0.0
    for text, name, ours in (
        ("`Checkpoints.save`: write, sync, hash, remove the oldest", "save", None),
        ("`save_file` over the file before, and `os.fsync`", "bare, synced", "save"),
        ("`save_file` over the file before; gone if the power fails", "bare", "save"),
        ("`Checkpoints.resume`: compare hashes, read, put back", "resume", None),
        ("`load_file`, and a copy of each tensor", "bare load", "resume"),
    ):
        values, pairs = times[name], ""
        if ours is not None:
            ratios = [mine / other for mine, other in zip(times[ours], values, strict=True)]
            save_over_bare = statistics.median(ratios) if name == "bare" else save_over_bare
            pairs = spread(ratios, 2)
        print(f"| {text} | {spread(values)} | {pairs} |")
    return save_over_bare


def main() -> None:
    """Print the table, and exit with 1 if the aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; by default the temporary folder")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, safetensors {safetensors.__version__}; "
        f"{platform.machine()} with {os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    )
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        over_bare = report(measure(folder, options.rounds))
    finally:
        shutil.rmtree(folder)
    raise SystemExit(over_bare > LIMIT)


if __name__ == "__main__":
    main()
