"""Training on tensors that fit into memory: settings that are checked, one resumable run, weights as shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from course_lib.data import Batches
from course_lib.loops import EMA, Checkpoints, Objective, Run, RunLog, fit
from course_lib.loops.precision import Precision, check_precision
from course_lib.optim import schedules
from course_lib.recipes.run_parts import (
    adamw,
    check_folder,
    check_one_process,
    check_updates,
    round_to_bf16,
    where_it_goes_on,
    where_it_ran,
)

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSettings:
    """How a model is trained on tensors.

    Args:
        steps: Updates.
        batch_size: Rows an update.
        learning_rate: The highest; it falls along half a cosine to 0.
        warmup: Updates until the highest learning rate.
        weight_decay: AdamW's, on matrices and filters only.
        ema: Decay of a moving average of the weights, which then is the result; 0 for none.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        seed: Of weights, data order and noise.

    Raises:
        ValueError: If a number is out of its range; the message names it.
    """

    steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.01
    ema: float = 0.99
    precision: Precision = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        check_updates(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            ema=self.ema,
            seed=self.seed,
        )
        check_precision(self.precision, [])


def train_tensors(
    network: Network,
    objective: Objective,
    tensors: tuple[Tensor, ...],
    settings: TensorSettings,
    *,
    out: Path,
    asked: dict[str, Any],
    generators: Sequence[torch.Generator],
    every: int | None = None,
    progress: bool = True,
) -> Network:
    """Train ``network`` in the folder ``out``, and return it in evaluation mode, its weights rounded to bf16.

    Run again with the same arguments after being killed, it goes on from its newest checkpoint.

    Args:
        network: On the device to train on.
        objective: What is minimised on batches of ``tensors``.
        tensors: What is learnt from; they are put on the network's device.
        settings: How.
        out: The log and checkpoints are written there.
        asked: What else decides the result, for the log: another value in the same folder is refused.
        generators: Those that the objective draws from.
        every: Updates between two checkpoints; by default a twentieth of all.
        progress: Whether to show a bar.

    Raises:
        ValueError: If ``out`` is a file or holds a run with other settings, or there are several processes.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted; the message says where the same call will go on.
    """
    check_one_process()
    check_folder(out)
    device = next(network.parameters()).device
    run = Run(
        network,
        objective,
        adamw(network, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay),
        schedule=partial(schedules.warmup_cosine, total=settings.steps, warmup=settings.warmup),
        precision=settings.precision,
        ema=EMA(network, decay=settings.ema) if settings.ema else None,
        max_grad_norm=1.0,
        generators=generators,
    )
    batches = Batches(
        tuple(tensor.to(device) for tensor in tensors),
        batch_size=settings.batch_size,
        seed=settings.seed,
        drop_last=True,
    )
    checkpoints = Checkpoints(out / "checkpoints")
    with RunLog(out / "log.jsonl", settings=asdict(settings) | asked) as log:
        fit(run, batches, steps=settings.steps, every=every, log=log, checkpoints=checkpoints, progress=progress)
    if run.index < settings.steps:
        raise KeyboardInterrupt(where_it_goes_on(checkpoints, run.index, settings.steps))
    if run.ema is not None:
        run.ema.copy_to(network)
    round_to_bf16(network)
    return network.eval().requires_grad_(False)


def effort(out: Path, settings: TensorSettings, device: torch.device) -> dict[str, float | int | str]:
    """Return what a card says of a finished run: its settings, where it ran, and how long it took."""
    chosen = {name: value for name, value in asdict(settings).items() if name != "seed"}
    return chosen | where_it_ran(out, device)
