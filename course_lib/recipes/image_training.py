"""Training an image model from a recipe: settings that are checked, one resumable run, weights rounded as shipped."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.data import Batches
from course_lib.loops import EMA, Checkpoints, Objective, Run, RunLog, fit, read_log
from course_lib.loops.precision import Precision, check_precision
from course_lib.optim import schedules

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """How an image model is trained.

    Args:
        steps: Updates.
        batch_size: Images an update.
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
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"warmup must be at least 0 and less than steps ({self.steps}), got {self.warmup}.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be finite and at least 0, got {self.weight_decay}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and less than 1, got {self.ema}.")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}.")
        check_precision(self.precision, [])


def train_images(
    network: Network,
    objective: Objective,
    tensors: tuple[Tensor, ...],
    settings: ImageSettings,
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
        KeyboardInterrupt: If training was interrupted; the message says that the same call goes on.
    """
    if world_size() > 1:
        raise ValueError("this recipe runs in one process: start it with python, not with torchrun.")
    if file := next((path for path in (out, *out.parents) if path.is_file()), None):
        raise ValueError(f"out must be a folder, but {file} is a file: take another name.")
    device = next(network.parameters()).device
    run = Run(
        network,
        objective,
        _optimizer(network, settings),
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
        raise KeyboardInterrupt(
            f"interrupted after {run.index} of {settings.steps} updates: a rerun goes on from the newest checkpoint."
        )
    if run.ema is not None:
        run.ema.copy_to(network)
    with torch.no_grad():
        for weight in network.state_dict().values():
            weight.copy_(weight.to(torch.bfloat16))
    return network.eval().requires_grad_(False)


def effort(out: Path, settings: ImageSettings, device: torch.device) -> dict[str, float | int | str]:
    """Return what a card says of a finished run: its settings, where it ran, and how long it took."""
    found: dict[str, float | int | str] = {name: value for name, value in asdict(settings).items() if name != "seed"}
    found["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if device.type == "cpu":
        found["threads"] = torch.get_num_threads()
    return found | {"wall_seconds": round(read_log(out / "log.jsonl").rows[-1]["wall_seconds"])}


def versions() -> dict[str, str]:
    """Return the versions of what made a model."""
    return {"python": platform.python_version()} | {
        package: version(package) for package in ("course-lib", "torch", "numpy")
    }


def chosen_device(wanted: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        ValueError: If this PyTorch does not find it.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, there in here.items() if there)
    if not here.get(wanted, False):
        raise ValueError(f"this PyTorch finds no {wanted} device here: take --device cpu, or install another build.")
    return torch.device(wanted)


def _optimizer(network: nn.Module, settings: ImageSettings) -> torch.optim.AdamW:
    parameters = list(network.parameters())
    groups = [
        {"params": [each for each in parameters if each.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
