"""What of a model learns: listed, counted, saved and loaded without the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from course_lib.nn.adapters.lora_merge import unmerge_lora
from course_lib.nn.adapters.targets import plain


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """How many numbers of a model learn, of how many."""

    trainable: int
    total: int

    @property
    def fraction(self) -> float:
        """The share that learns; 0 for a model without parameters."""
        return self.trainable / self.total if self.total else 0.0


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients, by name; shared ones once.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> _ = model[0].requires_grad_(False)
        >>> list(trainable_parameters(model))
        ['1.weight', '1.bias']
    """
    return {name: parameter for name, parameter in plain(model).named_parameters() if parameter.requires_grad}


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count the numbers that learn, and all; those of an adapter are counted in both, shared ones once.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> _ = model[0].requires_grad_(False)
        >>> count_parameters(model)
        ParameterCount(trainable=3, total=9)
    """
    trainable = sum(parameter.numel() for parameter in trainable_parameters(model).values())
    return ParameterCount(trainable, sum(parameter.numel() for parameter in plain(model).parameters()))


def save_trainable(model: nn.Module, path: str | Path) -> None:
    """Write the parameters that require gradients into one safetensors file, which is replaced if it is there.

    This serves every method: bottlenecks, a prompt, a head, LoRA (whose own `save_lora` writes what peft reads).
    Buffers, such as the statistics of batch norm, are not parameters and are not written.

    Raises:
        ValueError: If nothing requires a gradient.
    """
    parameters = trainable_parameters(model)
    if not parameters:
        raise ValueError("no parameter of this model requires a gradient: there is nothing to save.")
    stored = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in parameters.items()}
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f".{place.name}.new")
    new.write_bytes(save(stored, metadata={"format": "pt"}))
    os.replace(new, place)


def load_trainable(model: nn.Module, path: str | Path) -> None:
    """Give a model, built and frozen as the saved one was, the values that `save_trainable` wrote.

    Merged LoRA is unmerged, as by loading a state dict.

    Raises:
        ValueError: If names or shapes are not those that require gradients in ``model``; the message names the first
            difference, and nothing has changed. If the file is damaged.
        FileNotFoundError: If there is no such file.
    """
    parameters = trainable_parameters(model)
    try:
        stored = load(Path(path).read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    for name in [*parameters, *sorted(stored)]:
        if name not in stored or name not in parameters:
            where, lacks = ("this model", "the file") if name in parameters else ("the file", "this model")
            raise ValueError(f"{name!r} learns in {where}, but {lacks} has no such: build and freeze it as it was.")
        if stored[name].shape != parameters[name].shape:
            raise ValueError(
                f"{name!r} is {tuple(parameters[name].shape)} in this model, {tuple(stored[name].shape)} in the file."
            )
    unmerge_lora(model)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])
