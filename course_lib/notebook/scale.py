"""The scale dial: two sets of numbers for each notebook, one for any laptop and one for a GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal, cast

import torch

Scale = Literal["cpu", "gpu", "gpu-small"]
SCALES = ("cpu", "gpu", "gpu-small")


def scale() -> Scale:
    """Return ``"cpu"`` or ``"gpu"``: what ``COURSE_SCALE`` says, else ``"gpu"`` where CUDA is there.

    A third value, ``"gpu-small"``, is for tests: the gpu setting cut down so that any machine can step it once.

    Raises:
        ValueError: If ``COURSE_SCALE`` is something else.
    """
    wanted = os.environ.get("COURSE_SCALE") or ("gpu" if torch.cuda.is_available() else "cpu")
    if wanted not in SCALES:
        raise ValueError(f"COURSE_SCALE must be cpu or gpu, got {wanted!r}; unset it to let the machine decide.")
    return cast(Scale, wanted)


def device() -> torch.device:
    """Return where this notebook computes: the accelerator at gpu scale (CUDA, else Apple's MPS), else the CPU.

    Under ``torch.device("meta")``, where tests build the largest models without memory, it is that.
    """
    if torch.get_default_device().type == "meta":
        return torch.device("meta")
    if scale() == "gpu" and torch.cuda.is_available():
        return torch.device("cuda")
    if scale() == "gpu" and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def setting(
    *, cpu: Mapping[str, Any], gpu: Mapping[str, Any], cut: Mapping[str, Any] | None = None, quiet: bool = False
) -> SimpleNamespace:
    """Print both sets of numbers side by side and return the one in force.

    Args:
        cpu: Name to value: what continuous integration runs and stored outputs show.
        gpu: The same names, for an accelerator.
        cut: Values that replace those of ``gpu`` where a test only wants to see one step of it.
        quiet: Print nothing.

    Returns:
        The values as attributes.

    Raises:
        ValueError: If the two do not name the same things, or ``cut`` names something else.

    Example:
        >>> s = setting(cpu={"width": 64}, gpu={"width": 1024}, quiet=True)
        >>> s.width in (64, 1024)
        True
    """
    if cpu.keys() != gpu.keys():
        raise ValueError(f"cpu and gpu must name the same things; only one has {sorted(cpu.keys() ^ gpu.keys())}.")
    if unknown := (cut or {}).keys() - gpu.keys():
        raise ValueError(f"cut names {sorted(unknown)}, which gpu does not have.")
    in_force = scale()
    if not quiet:
        _print_table(cpu, gpu, in_force)
    values = cpu if in_force == "cpu" else gpu if in_force == "gpu" else {**gpu, **(cut or {})}
    return SimpleNamespace(**values)


def _print_table(cpu: Mapping[str, Any], gpu: Mapping[str, Any], in_force: Scale) -> None:
    titles = {"cpu": "cpu", "gpu": "gpu"}
    titles[in_force[:3]] += " (this run)"
    rows = [("setting", titles["cpu"], titles["gpu"]), *((name, str(cpu[name]), str(gpu[name])) for name in cpu)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
