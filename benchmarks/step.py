"""What an update costs: ``Run.step`` through ``train`` against bare PyTorch, accelerate, Fabric and the HF Trainer.

Run it on an otherwise idle machine: ``python benchmarks/step.py``. It prints the tables of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from course_lib.loops import Run, classification, train

Batch = tuple[Tensor, Tensor]
SLICES = 20  # into which the steps of a round are cut
WARM_UP = 50  # updates before the clock starts: first calls allocate, import and choose kernels
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Task:
    """A model, its ready-made batches, and how many updates are timed in a round."""

    name: str
    make_model: Callable[[], nn.Module]
    batches: list[Batch]
    steps: int


def small_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def small_convnet() -> nn.Module:
    """Has batch norm, so that there are buffers to keep safe."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 7 * 7, 10)),
    )


def random_batches(*shape: int, seed: int = 0) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    rows = shape[0]
    return [
        (torch.randn(*shape, generator=generator), torch.randint(0, 10, (rows,), generator=generator))
        for _ in range(16)
    ]


def tasks(steps: int) -> list[Task]:
    return [
        Task("MLP 64-32-10, 32 rows", small_mlp, random_batches(32, 64), steps),
        Task("convnet, 32 images of 28x28", small_convnet, random_batches(32, 1, 28, 28), max(SLICES, steps // 5)),
    ]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)


def run_step(task: Task) -> Iterator[Any]:
    model = task.make_model()
    return train(Run(model, classification, sgd(model)), cycle(task.batches), steps=sys.maxsize)


def bare_same_work(task: Task) -> Iterator[Any]:
    """The loop that a careful person writes: it too counts hits, takes the gradient's norm and stops at nan."""
    model = task.make_model()
    optimizer = sgd(model)
    for x, y in cycle(task.batches):
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        accuracy = (logits.detach().argmax(-1) == y).sum() / len(y)
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise RuntimeError("not finite")
        optimizer.step()
        yield loss.detach(), norm, accuracy


def bare_minimum(task: Task) -> Iterator[Any]:
    """Forward, mean loss, backward, step; nothing is counted and nothing is checked."""
    model = task.make_model()
    optimizer = sgd(model)
    for x, y in cycle(task.batches):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        yield loss.detach()


def with_accelerate(task: Task) -> Iterator[Any]:
    """As in accelerate's documentation, with the gradient's norm by its own function, and the same checks."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = task.make_model()
    model, optimizer = accelerator.prepare(model, sgd(model))
    for x, y in cycle(task.batches):
        with accelerator.accumulate(model):
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            accuracy = (logits.detach().argmax(-1) == y).sum() / len(y)
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(model.parameters(), 1e9)
            if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
                raise RuntimeError("not finite")
            optimizer.step()
        yield loss.detach(), norm, accuracy


def with_fabric(task: Task) -> Iterator[Any]:
    """The same with Lightning Fabric's functions."""
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    plain_model = task.make_model()
    model, optimizer = fabric.setup(plain_model, sgd(plain_model))
    for x, y in cycle(task.batches):
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        accuracy = (logits.detach().argmax(-1) == y).sum() / len(y)
        fabric.backward(loss)
        norm = fabric.clip_gradients(model, optimizer, max_norm=1e9, error_if_nonfinite=False)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise RuntimeError("not finite")
        optimizer.step()
        yield loss.detach(), norm, accuracy


def trainer_seconds(task: Task) -> float:
    """CPU seconds of one round of the Trainer, without logs, bars, saving and evaluation, timed at a stretch."""
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class Ready(Dataset[dict[str, Tensor]]):
        """Ready-made batches, so that nobody is timed for collating rows."""

        def __len__(self) -> int:
            return WARM_UP + task.steps

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            x, y = task.batches[index % len(task.batches)]
            return {"x": x, "labels": y}

    class WithLoss(nn.Module):
        """The Trainer wants a model that computes its own loss."""

        def __init__(self) -> None:
            super().__init__()
            self.model = task.make_model()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.model(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    class ReadyTrainer(Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
            return DataLoader(Ready(), batch_size=None)

    class Clock(TrainerCallback):  # type: ignore[misc]
        started = ended = math.nan

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == WARM_UP:
                self.started = time.process_time()
            if state.global_step == WARM_UP + task.steps:
                self.ended = time.process_time()

    clock, model = Clock(), WithLoss()
    optimizer = sgd(model)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=WARM_UP + task.steps,
            per_device_train_batch_size=1,
            use_cpu=True,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = ReadyTrainer(
            model=model,
            args=arguments,
            train_dataset=Ready(),
            optimizers=(optimizer, constant),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.ended - clock.started


REFERENCE, TRAINER = "bare loop, same work", "Hugging Face Trainer"
LOOPS: dict[str, Callable[[Task], Iterator[Any]]] = {
    "`Run.step` through `train`": run_step,
    REFERENCE: bare_same_work,
    "bare loop, least work": bare_minimum,
    "accelerate": with_accelerate,
    "Lightning Fabric": with_fabric,
}
NEEDS = {"accelerate": "accelerate", "Lightning Fabric": "lightning_fabric", TRAINER: "transformers"}


def installed(name: str) -> bool:
    if name not in NEEDS or importlib.util.find_spec(NEEDS[name]):
        return True
    print(f"{name}: {NEEDS[name]} is not installed, skipped (pip install -e '.[bench]').")
    return False


def measure(task: Task, loops: dict[str, Iterator[Any]], rounds: int, trainer: bool = False) -> dict[str, list[float]]:
    """Return CPU microseconds a step, one number a loop and round.

    A round gives every loop its steps in slices, in an order that turns, so that a machine that is now faster and now
    slower treats all alike.
    """
    for loop in loops.values():
        draw(loop, WARM_UP)
    found: dict[str, list[float]] = {name: [] for name in (*loops, *([TRAINER] if trainer else []))}
    for _ in range(rounds):
        seconds = dict.fromkeys(loops, 0.0)
        for number in range(SLICES):
            for place in range(len(loops)):
                name = list(loops)[(place + number) % len(loops)]
                started = time.process_time()
                draw(loops[name], task.steps // SLICES)
                seconds[name] += time.process_time() - started
        if trainer:
            seconds[TRAINER] = trainer_seconds(task)
        for name in found:
            found[name].append(seconds[name] / task.steps * 1e6)
    return found


def draw(loop: Iterator[Any], steps: int) -> None:
    for _ in islice(loop, steps):
        pass


def spread(numbers: list[float], digits: int = 0) -> str:
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def show(task: Task, found: dict[str, list[float]]) -> None:
    print(f"\n**{task.name}**: microseconds a step, {len(found[REFERENCE])} rounds of {task.steps} steps\n")
    print("| loop | median (range) | over the bare loop, same work: median (range) of pairs |")
    print("| --- | ---: | ---: |")
    for name, numbers in found.items():
        over = [mine - theirs for mine, theirs in zip(numbers, found[REFERENCE], strict=True)]
        print(f"| {name} | {spread(numbers)} | {'' if name == REFERENCE else spread(over)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, at least 7 (default 11)")
    parser.add_argument("--steps", type=int, default=1000, help="steps of the MLP in a round (default 1000)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the peers' advice about machines without an accelerator
    names = [name for name in (*LOOPS, TRAINER) if installed(name)]
    versions = {"Python": platform.python_version(), "torch": torch.__version__}
    for module in NEEDS.values():
        if importlib.util.find_spec(module):
            versions[module] = __import__(module).__version__
    print(", ".join(f"{name} {version}" for name, version in versions.items()), end="; ")
    print(f"{platform.machine()} with {os.cpu_count()} CPUs, one thread.")
    for task in tasks(arguments.steps):
        loops = {name: LOOPS[name](task) for name in names if name in LOOPS}
        show(task, measure(task, loops, arguments.rounds, trainer=TRAINER in names))


if __name__ == "__main__":
    main()
