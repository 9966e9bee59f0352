"""Saving and restoring the random generators that a run draws from: torch's global ones and those passed in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        "device_type": device.type,
        "device": _device_state(device),
        "generators": [generator.get_state() for generator in generators],
    }


def check_generators(state: Mapping[str, Any], generators: Sequence[torch.Generator]) -> None:
    """Refuse ``generators`` that ``state`` does not fit.

    Raises:
        ValueError: If they are more, fewer, or of another kind than those saved.
    """
    saved = state["generators"]
    if len(saved) != len(generators):
        raise ValueError(f"{len(saved)} generators were saved, this run has {len(generators)}: pass the same ones.")
    for number, (value, generator) in enumerate(zip(saved, generators, strict=True)):
        if value.shape != generator.get_state().shape:
            raise ValueError(f"generator {number} was saved on another kind of device than {generator.device}.")


def restore_random_state(
    state: Mapping[str, Any], device: torch.device, generators: Sequence[torch.Generator] = ()
) -> None:
    """Put the generators back to where they were when ``state`` was taken; `check_generators` says if they fit.

    Warns:
        UserWarning: If the state was taken on another kind of device, whose generator it cannot set.
    """
    torch.set_rng_state(state["cpu"].cpu())
    if device.type != state["device_type"]:
        warnings.warn(
            f"the random state was saved on {state['device_type']}, this run is on {device.type}: dropout will draw "
            "other numbers than in an unbroken run.",
            stacklevel=2,
        )
    elif device.type == "cuda":
        torch.cuda.set_rng_state(state["device"].cpu(), device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state["device"].cpu())
    for generator, value in zip(generators, state["generators"], strict=True):
        generator.set_state(value.cpu())


@contextmanager
def unchanged_randomness(generators: Sequence[torch.Generator] = ()) -> Iterator[None]:
    """Whatever is drawn inside the ``with``, torch's global generators and ``generators`` are put back afterwards.

    Example:
        >>> before = torch.get_rng_state()
        >>> with unchanged_randomness():
        ...     _ = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    states = [generator.get_state() for generator in generators]
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            if mps is not None:
                torch.mps.set_rng_state(mps)
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _device_state(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return None
