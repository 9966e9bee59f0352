"""A sweep of small language models over sizes and budgets, on stories whose entropy is known exactly.

Each run trains a decoder on fresh stories, none twice, with a learning rate that falls to 0 at the end of its budget,
and ends with its loss on stories held out. From the command line it adds to a table, a row a run, and goes on where it
was stopped::

    python -m course_lib.scaling.sweep table.csv            # about an hour on one core
    python -m course_lib.scaling.sweep table.csv --gpu      # larger models and budgets, on CUDA
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib.loops import Run, evaluate, next_token, train
from course_lib.loops.objectives import MASKED
from course_lib.nn.transformer import Transformer, TransformerConfig, gpt
from course_lib.optim.schedules import warmup_linear
from course_lib.scaling.accounting import flops_per_token, num_parameters
from course_lib.scaling.stories import VOCAB_SIZE, held_out, story_batches

CONTEXT = 320  # more than the longest story
Shapes = tuple[tuple[int, int, int], ...]  # width, layers and heads of each size
TINY: Shapes = ((16, 1, 1), (24, 1, 1), (28, 2, 2), (40, 2, 2))
SMALL: Shapes = ((48, 3, 3), (56, 4, 4), (80, 4, 4), (96, 5, 4), (128, 5, 4))
LARGE: Shapes = ((192, 6, 6), (256, 8, 8), (384, 8, 8), (512, 10, 8), (768, 12, 12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run to be made.

    Args:
        width: Of the model.
        num_layers: Of the model.
        num_heads: Of the model.
        flops: The budget, 6 N D with all parameters in N; D follows.
        seed: Of the starting weights and of the stories.
        batch_size: Stories an update.
    """

    width: int
    num_layers: int
    num_heads: int
    flops: float
    seed: int
    batch_size: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """What one run came to.

    Args:
        width: Of the model.
        num_layers: Of the model.
        num_heads: Of the model.
        flops: The budget that the run was meant for, 6 N D; the same number for all runs of an IsoFLOP valley.
        seed: Of the starting weights and of the stories.
        batch_size: Stories an update.
        non_embedding: Parameters without the token table.
        num_parameters: All parameters; the output layer shares the token table's.
        num_tokens: Targets trained on.
        exact_flops: Matrix products of these tokens, attention and output layer included.
        num_steps: Updates.
        learning_rate: Of the matrices, at its peak.
        loss: On stories held out, nats a token.
        entropy: What the grammar itself, the best model there can be, loses on these very stories, nats a token.
        cpu_seconds: Of the run.
    """

    width: int
    num_layers: int
    num_heads: int
    flops: float
    seed: int
    batch_size: int
    non_embedding: int
    num_parameters: int
    num_tokens: int
    exact_flops: float
    num_steps: int
    learning_rate: float
    loss: float
    entropy: float
    cpu_seconds: float


def model_config(cell: Cell) -> TransformerConfig:
    """Return the decoder of a cell: rotary positions, no biases, tied embeddings."""
    shape = {"width": cell.width, "num_layers": cell.num_layers, "num_heads": cell.num_heads}
    return gpt(vocab_size=VOCAB_SIZE, context_length=CONTEXT, positions="rotary", bias=False, **shape)


def learning_rates(width: int) -> tuple[float, float]:
    """Return the peak rates of the matrices and of the token table, by a rule of the muP kind.

    The best rate of a matrix goes as one over its width, that of a lookup table stays. The constants were found by a
    dozen trial runs of widths 16, 40 and 80 at 1e11 and 2e11 FLOP: twice the matrices' rate gained 0.03 nats a token at
    width 16, and lost 0.02 at 40 and 0.14 at 80; one rate for matrices and table lost 0.3 at 40.

    Reference: Yang et al. 2022, "Tensor programs V: tuning large neural networks via zero-shot hyperparameter
    transfer", table 8, https://arxiv.org/abs/2203.03466
    """
    return 0.3 / width, 0.03


def run_cell(cell: Cell, *, device: str = "cpu") -> SweepRow:
    """Train one model to the end of its budget, and return its row.

    AdamW without weight decay, the rate rising over a tenth of the updates and falling in a line to 0, gradients of
    norm 1 at most. The last batch may take the run a few hundred tokens beyond its budget; the row says what was seen.

    Args:
        cell: What to train.
        device: Where to train.

    Raises:
        ValueError: If the budget is no more than one batch.
    """
    started = time.process_time()
    config, count = model_config(cell), num_parameters(model_config(cell))
    batches = story_batches(round(cell.flops / (6 * count.total)), batch_size=cell.batch_size, seed=cell.seed)
    model = Transformer(config, generator=torch.Generator().manual_seed(cell.seed)).to(device)
    rate, table_rate = learning_rates(cell.width)
    table, rest = model.embedding.weight, [p for n, p in model.named_parameters() if n != "embedding.weight"]
    groups = [{"params": rest, "lr": rate}, {"params": [table], "lr": table_rate}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    steps = len(batches)
    if steps < 2:
        raise ValueError(f"{cell.flops:.3g} FLOP are one batch of {cell.batch_size} stories: give a larger budget.")
    schedule = partial(warmup_linear, total=steps, warmup=max(1, steps // 10))
    run = Run(model, next_token, optimizer, schedule=schedule, max_grad_norm=1.0)
    for _ in train(run, _on(device, batches), steps=steps):
        pass
    held_out_batches, entropy = held_out()
    loss = evaluate(model, next_token, _on(device, held_out_batches))["loss"]
    seen = sum(int((y != MASKED).sum()) for _, y in batches)
    mean_length = round(seen / (steps * cell.batch_size))
    return SweepRow(
        **asdict(cell),
        non_embedding=count.non_embedding,
        num_parameters=count.total,
        num_tokens=seen,
        exact_flops=flops_per_token(config, num_tokens=mean_length) * seen,
        num_steps=steps,
        learning_rate=rate,
        loss=loss,
        entropy=entropy,
        cpu_seconds=round(time.process_time() - started, 1),
    )


def _on(device: str, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    return ((x.to(device), y.to(device)) for x, y in batches)


def cells(*, gpu: bool = False) -> list[Cell]:
    """Return the runs to make, in order: cheap ones first, then the dearest, then more seeds.

    Budgets double, and each is given to the sizes that have 0.35 to 140 tokens a parameter with it, on both sides of
    the optimum.
    """
    if gpu:
        shapes, batch_size = SMALL + LARGE, 32
        order = [(1e13 * 2**level, seed) for level in range(7) for seed in (0, 1)]
    else:
        shapes, batch_size = TINY + SMALL, 4
        order = [(5e10 * 2**level, 0) for level in range(8)]
        order += [(5e10 * 2**level, seed) for level in range(3) for seed in (1, 2)]
    found = []
    for flops, seed in order:
        for width, num_layers, num_heads in shapes:
            cell = Cell(
                width=width, num_layers=num_layers, num_heads=num_heads, flops=flops, seed=seed, batch_size=batch_size
            )
            size = num_parameters(model_config(cell)).total
            if 0.35 <= flops / 6 / size**2 <= 140:
                found.append(cell)
    return found


def read_table(path: Path) -> list[SweepRow]:
    """Return the rows of a table; none if there is no such file yet."""
    if not path.is_file():
        return []
    kinds: dict[str, Callable[[str], Any]] = {
        field.name: int if field.type == "int" else float for field in fields(SweepRow)
    }
    with path.open(encoding="utf-8", newline="") as file:
        return [SweepRow(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def load_sweep() -> list[SweepRow]:
    """Return the rows of the sweep that ships with the course.

    Example:
        >>> rows = load_sweep()
        >>> all(row.loss > row.entropy for row in rows)
        True
    """
    return read_table(Path(__file__).with_name("sweep.csv"))


def run_sweep(path: Path, todo: Iterable[Cell], *, device: str = "cpu", seconds: float = math.inf) -> None:
    """Add a row to the table at ``path`` for each cell that has none; start no further run after ``seconds``."""
    started = time.monotonic()
    done = {tuple(getattr(row, field.name) for field in fields(Cell)) for row in read_table(path)}
    for cell in todo:
        if tuple(asdict(cell).values()) in done or time.monotonic() - started > seconds:
            continue
        row = asdict(run_cell(cell, device=device))
        new = not path.is_file()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{name}={value:.6g}" for name, value in row.items()), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a CSV file, to be made or gone on with")
    parser.add_argument("--gpu", action="store_true", help="larger models and budgets, on CUDA")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no further run after so long")
    given = parser.parse_args(arguments)
    run_sweep(given.table, cells(gpu=given.gpu), device="cuda" if given.gpu else "cpu", seconds=given.seconds)


if __name__ == "__main__":
    main()
