"""What the run of every recipe is made of: checks, AdamW, rounding as shipped, what is said when it ends or stops."""

from __future__ import annotations

import math
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from course_lib.loops import Checkpoints, read_log


def check_updates(
    *, steps: int, batch_size: int, learning_rate: float, warmup: int, weight_decay: float, ema: float, seed: int
) -> None:
    """Raise a ValueError that names the first setting out of its range."""
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup must be at least 0 and less than steps ({steps}), got {warmup}.")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}.")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be finite and at least 0, got {weight_decay}.")
    if not 0 <= ema < 1:
        raise ValueError(f"ema must be at least 0 and less than 1, got {ema}.")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")


def check_folder(out: Path) -> None:
    """Raise a ValueError if ``out`` or what it lies in is a file."""
    if file := next((path for path in (out, *out.parents) if path.is_file()), None):
        raise ValueError(f"out must be a folder, but {file} is a file: take another name.")


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float, beta2: float = 0.999) -> torch.optim.AdamW:
    """Return AdamW over what ``model`` trains, with decay on matrices and filters only: norms and biases have none."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in parameters if each.ndim >= 2], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=True)


def round_to_bf16(model: nn.Module) -> None:
    """Round the weights to bf16, in place: what is measured from here on is what is written."""
    with torch.no_grad():
        for weight in model.state_dict().values():
            weight.copy_(weight.to(torch.bfloat16))


def where_it_goes_on(checkpoints: Checkpoints, made: int, steps: int) -> str:
    """Return what to say of an interrupted run: updates since the newest checkpoint are lost.

    Args:
        checkpoints: Of the run.
        made: Updates that were made.
        steps: Updates that were to be made.
    """
    newest = checkpoints.newest()
    if newest is None:
        return f"interrupted after {made} of {steps} updates, before the first checkpoint: a rerun begins anew."
    step = int(newest.name.rpartition("_")[2])
    return f"interrupted after {made} of {steps} updates: a rerun goes on from the checkpoint at update {step}."


def where_it_ran(out: Path, device: torch.device) -> dict[str, float | int | str]:
    """Return what a card says of where a finished run happened, and how long it took by its log in ``out``."""
    found: dict[str, float | int | str] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    }
    if device.type == "cpu":
        found["threads"] = torch.get_num_threads()
    return found | {"wall_seconds": round(read_log(out / "log.jsonl").rows[-1]["wall_seconds"])}


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, this library, PyTorch, NumPy and ``packages``."""
    return {"python": platform.python_version()} | {
        package: version(package) for package in ("course-lib", "torch", "numpy", *packages)
    }
