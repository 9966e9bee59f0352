"""Training on tensors that fit into memory: settings that are checked, one resumable run, weights as shipped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from course_lib.data import Batches
from course_lib.distributed import ShardedCheckpoints
from course_lib.loops import EMA, Objective, Run, RunLog, fit, seed_all
from course_lib.loops.checkpoints.between_ranks import gather_bytes
from course_lib.loops.precision import Precision, check_precision
from course_lib.optim import schedules
from course_lib.recipes.run_parts import (
    adamw,
    check_folder,
    check_updates,
    round_to_bf16,
    where_it_goes_on,
    where_it_ran,
)
from course_lib.recipes.sharing import BY_DEFAULT, Sharing, share

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSettings:
    """How a model is trained on tensors.

    Args:
        steps: Updates.
        batch_size: Rows an update, over all processes.
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
    sharing: Sharing = BY_DEFAULT,
    every: int | None = None,
    progress: bool = True,
) -> Network:
    """Train ``network`` in the folder ``out``, and return it in evaluation mode, its weights rounded to bf16.

    Run again with the same arguments after being killed, it goes on from its newest checkpoint. In a process group
    (torchrun) all ranks call this, with an ``out`` that all see, and share each batch; what the objective draws differs
    from rank to rank if ``generators`` do. It may go on on another number of ranks.

    Args:
        network: Alike on all ranks, on the device to train on.
        objective: What is minimised on batches of ``tensors``.
        tensors: What is learnt from; they are put on the network's device.
        settings: How.
        out: The log and checkpoints are written there.
        asked: What else decides the result, for the log: another value in the same folder is refused.
        generators: Those that the objective draws from.
        sharing: How several processes share the work; with a network other than a `Transformer` neither tp nor pp.
        every: Updates between two checkpoints; by default a twentieth of all.
        progress: Whether to show a bar.

    Raises:
        ValueError: If ``out`` is a file or holds a run with other settings, ``sharing`` does not fit, or ranks have
            different ``tensors``.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted; the message says where the same call will go on.
    """
    check_folder(out)
    sharing.check(batch_size=settings.batch_size, ema=settings.ema, precision=settings.precision)
    device = next(network.parameters()).device
    _check_alike(tensors, device)
    shared = share(network, sharing)
    seed_all(settings.seed + shared.place)
    run = Run(
        shared.model,
        shared.objective(objective),
        adamw(shared.model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay),
        schedule=partial(schedules.warmup_cosine, total=settings.steps, warmup=settings.warmup),
        precision=settings.precision,
        ema=EMA(network, decay=settings.ema) if settings.ema else None,
        max_grad_norm=1.0,
        gradients=shared.gradients,
        generators=generators,
    )
    batches = Batches(
        tuple(tensor.to(device) for tensor in tensors),
        batch_size=settings.batch_size,
        seed=settings.seed,
        drop_last=True,
        rank=shared.place,
        world_size=shared.copies,
    )
    checkpoints = ShardedCheckpoints(out / "checkpoints")
    with RunLog(out / "log.jsonl", settings=asdict(settings) | asked) as log:
        fit(run, batches, steps=settings.steps, every=every, log=log, checkpoints=checkpoints, progress=progress)
    if run.index < settings.steps:
        raise KeyboardInterrupt(where_it_goes_on(checkpoints, run.index, settings.steps))
    trained = cast(Network, shared.whole())
    if run.ema is not None:
        run.ema.copy_to(trained)
    round_to_bf16(trained)
    return trained.eval().requires_grad_(False)


def _check_alike(tensors: tuple[Tensor, ...], device: torch.device) -> None:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    if len(set(gather_bytes(digest.digest(), device))) > 1:
        raise ValueError("the processes have made different data to learn from: start them on machines of one kind.")


def effort(out: Path, settings: TensorSettings, device: torch.device, sharing: Sharing) -> dict[str, float | int | str]:
    """Return what a card says of a finished run: its settings, where it ran, on how many, and how long it took."""
    chosen = {name: value for name, value in asdict(settings).items() if name != "seed"}
    return chosen | where_it_ran(out, device) | sharing.card()
