"""Saving and restoring the random generators that a run draws from: torch's global ones and those passed in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch


def random_state(device: torch.device, generators: Sequence[torch.Generator] = ()) -> dict[str, Any]:
    """Return the state of torch's global generators (the CPU's, and that of ``device``) and of ``generators``.

    Example:
        >>> state = random_state(torch.device("cpu"))
        >>> first = torch.rand(2)
        >>> restore_random_state(state, torch.device("cpu"))
        >>> torch.equal(first, torch.rand(2))
        True
    """
    return {
        "cpu": torch.get_rng_state(),
        device.type: _device_state(device),
        "generators": [generator.get_state() for generator in generators],
    }


def restore_random_state(
    state: Mapping[str, Any], device: torch.device, generators: Sequence[torch.Generator] = ()
) -> None:
    """Put the generators back to where they were when ``state`` was taken.

    Raises:
        ValueError: If there are more or fewer ``generators`` than there were.

    Warns:
        UserWarning: If the state was taken on another kind of device, whose generator it cannot set.
    """
    saved = state["generators"]
    if len(saved) != len(generators):
        raise ValueError(f"{len(saved)} generators were saved, but this run has {len(generators)}: pass the same ones.")
    if device.type not in state:
        warnings.warn(
            f"the random state was saved on {sorted(state.keys() - {'generators'})[-1]}, this run is on {device.type}: "
            "dropout there will draw other numbers than an unbroken run.",
            stacklevel=2,
        )
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"].cpu())
    for generator, value in zip(generators, saved, strict=True):
        generator.set_state(value.cpu())


def _device_state(device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.get_rng_state()
