"""How every recipe behaves as a command: exit codes, what it says to a mistake or an interruption, where it runs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from course_lib.collectives import world_size
from course_lib.distributed import device as device_of_rank
from course_lib.distributed import process_group
from course_lib.loops import CheckpointError, NonFiniteStep
from course_lib.loops import precision as precisions
from course_lib.recipes.run_parts import check_folder
from course_lib.zoo.card import Scores

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def _folder(out: Path) -> Path:
    check_folder(out)  # before any data are made
    return out


# Options that several commands have.
Out = Annotated[Path, typer.Option(help="Folder for the run; made if it is not there.", callback=_folder)]
Steps = Annotated[int, typer.Option(help="Updates.")]
BatchSize = Annotated[int, typer.Option(help="Rows an update, over all processes.")]
LearningRate = Annotated[float, typer.Option(help="The highest.")]
Warmup = Annotated[int, typer.Option(help="Updates to the highest learning rate.")]
WeightDecay = Annotated[float, typer.Option(help="On matrices and filters.")]
Ema = Annotated[float, typer.Option(help="Decay of averaged weights; 0: none.")]
Precision = Annotated[precisions.Precision, typer.Option(help="Of the arithmetic.")]
Name = Annotated[str | None, typer.Option(help="For the card; by default that of OUT.")]
Device = Annotated[DeviceName, typer.Option(help="auto: the fastest there is.")]
Every = Annotated[int | None, typer.Option(help="Updates between checkpoints.")]
Progress = Annotated[bool, typer.Option(help="Show a bar.")]
Copies = Annotated[
    Literal["ddp", "fsdp"] | None,
    typer.Option(
        "--parallel", help="Under torchrun: each process has the whole model (ddp, the default) or a part (fsdp)."
    ),
]

_MISTAKES = (ValueError, ConnectionError, FileNotFoundError, PermissionError, NotADirectoryError, TimeoutError)


def new_app() -> typer.Typer:
    """Return an app whose one command is a recipe."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


def run_app(app: typer.Typer, name: str) -> None:
    """Run ``app`` on the words of the command line, and end the process; under torchrun, in its process group.

    Exit codes: 0 done, 1 training failed, 2 a user's mistake (or no network), 130 interrupted. What went wrong is one
    line on stderr.

    Args:
        app: Of `new_app`.
        name: Of the recipe's module.
    """
    try:
        with process_group() if "RANK" in os.environ else nullcontext():
            app(prog_name=_module(name))
    except _MISTAKES as error:
        print(f"{_who(name)}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (NonFiniteStep, CheckpointError) as error:
        print(f"{_who(name)}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def telling_interruption(name: str) -> Iterator[None]:
    """Say on stderr, if what happens inside is interrupted, how far it has come, and leave the rest to `run_app`.

    Args:
        name: Of the recipe's module.
    """
    try:
        yield
    except KeyboardInterrupt as interrupted:
        print(f"{name}: {str(interrupted) or 'interrupted before the first update.'}", file=sys.stderr)
        raise


def recipe_line(name: str) -> str:
    """Return the command that is running, for a card: what makes the model anew."""
    start = "python" if world_size() == 1 else f"torchrun --nproc-per-node {world_size()}"
    return f"{start} -m course_lib.recipes.{name} {shlex.join(sys.argv[1:])}"


def print_scores(scores: Scores) -> None:
    """Print the scores of a card, a row a line."""
    for row, columns in scores.items():
        print(f"{row}: " + ", ".join(f"{column} {value:.4g}" for column, value in columns.items()))


def chosen_device(wanted: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is CUDA where there is one, else Apple's MPS, else the CPU.

    Under torchrun each process has a GPU of its own, if there are enough.

    Raises:
        ValueError: If this PyTorch does not find it.
    """
    if world_size() > 1 and wanted in ("auto", device_of_rank().type):
        return device_of_rank()
    if world_size() > 1 and wanted == "cuda":
        raise ValueError("there are fewer GPUs than processes on this machine: start fewer, or take --device cpu.")
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, there in here.items() if there)
    if not here.get(wanted, False):
        raise ValueError(f"this PyTorch finds no {wanted} device here: take --device cpu, or install another build.")
    return torch.device(wanted)


def _who(name: str) -> str:
    """The recipe's name, with the rank behind it if it is not the first."""
    return name if (rank := os.environ.get("RANK", "0")) == "0" else f"{name}, rank {rank}"


def _module(name: str) -> str:
    return f"python -m course_lib.recipes.{name}"
