"""An adapter in a folder, in the layout of the library peft: what one of the two has saved, the other loads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from course_lib.nn.adapters.lora import add_lora, config_of, learning_in_full, lora_layers
from course_lib.nn.adapters.lora_layers import KINDS, LoRAConfig, LoRALayer
from course_lib.nn.adapters.targets import matching, plain

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."  # what peft's wrappers add to a name
READ = {"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "modules_to_save"}
# What does not change what a saved adapter computes: where it comes from, how it was started, what is off by default.
UNREAD = {
    "auto_mapping",
    "base_model_name_or_path",
    "eva_config",
    "fan_in_fan_out",  # of a layer class that is refused
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
}
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # others take something out of the base's weights
MOST_SHOWN = 5


def save_lora(model: nn.Module, folder: str | Path, *, name: str = "default") -> None:
    """Write one adapter, and what learnt in full with it, without the base: kilobytes instead of gigabytes.

    Args:
        model: Holds the adapter, active or not, merged or not.
        folder: Made if it is not there; ``adapter_model.safetensors`` and ``adapter_config.json`` in it are replaced.
        name: Of the adapter; it is not written down.

    Raises:
        ValueError: If there is no such adapter, or ``model`` is a part that lacks what learnt in full with it. Then
            nothing is written.
    """
    model, config = plain(model), config_of(model, name)
    tensors = {}
    for layer_name, layer in lora_layers(model).items():
        if name in layer.lora:
            for key, parameter in zip(_keys(layer_name, layer), layer.lora[name].parameters(), strict=True):
                tensors[key] = parameter
    for module_name, module in learning_in_full(model, name).items():
        for key, value in module.state_dict().items():
            tensors[f"{PREFIX}{module_name}.{key}"] = value
    stored = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    _replace(place / WEIGHTS, save(stored, metadata={"format": "pt"}))
    _replace(place / CONFIG, json.dumps(_as_json(config), indent=2).encode())


def load_lora(model: nn.Module, folder: str | Path, *, name: str = "default") -> list[str]:
    """Add the adapter that `save_lora` or peft wrote into ``folder``; it is active then, and may learn on.

    Modules that had learnt in full with it get their saved values.

    Args:
        model: The base, as it was when the adapter was made, or with other adapters. Changed in place.
        folder: Holds the two files.
        name: What to call the adapter here.

    Returns:
        The names of the layers with an update.

    Raises:
        ValueError: If the adapter does not fit the model (the message names what differs), is of a kind that is not
            LoRA as `add_lora` has it, or its files are damaged. Then nothing has changed.
        FileNotFoundError: If one of the files is missing.
    """
    model = plain(model)
    try:
        content = json.loads((Path(folder) / CONFIG).read_bytes())
    except ValueError as error:  # no JSON, or not even text
        raise ValueError(f"{Path(folder) / CONFIG} is damaged: {error}.") from error
    config = _from_json(content, Path(folder))
    try:
        tensors = load((Path(folder) / WEIGHTS).read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{Path(folder) / WEIGHTS} is damaged: {error}.") from error
    also = matching(model, config.train_also, called="modules_to_save") if config.train_also else {}
    targets = matching(model, config.targets)
    expected = {
        f"{PREFIX}{module_name}.{key}": value.shape
        for module_name, module in also.items()
        for key, value in module.state_dict().items()
    }
    for layer_name, layer in targets.items():
        if kind := type(layer) if isinstance(layer, LoRALayer) else KINDS.get(type(layer)):
            shapes = (torch.Size(shape) for shape in kind.shapes(layer, config.rank))
            expected |= dict(zip(_keys(layer_name, layer), shapes, strict=True))
    tensors = _without_base_weights(tensors, targets)
    _refuse_differences(expected, tensors)
    layer_names = add_lora(
        model,
        config.targets,
        rank=config.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        rslora=config.rslora,
        train_also=tuple(also),
        name=name,
        generator=torch.Generator(),  # every value drawn is replaced: torch's global state need not move
    )
    with torch.no_grad():
        for layer_name, layer in lora_layers(model).items():
            if name in layer.lora:
                for key, parameter in zip(_keys(layer_name, layer), layer.lora[name].parameters(), strict=True):
                    parameter.copy_(tensors[key])
    for module_name, module in also.items():
        start = f"{PREFIX}{module_name}."
        module.load_state_dict({key.removeprefix(start): tensors[key] for key in tensors if key.startswith(start)})
    return layer_names


def _keys(layer_name: str, layer: nn.Module) -> tuple[str, str]:
    """Return what peft calls A and B of a layer."""
    kind = type(layer) if isinstance(layer, LoRALayer) else KINDS[type(layer)]
    a, b = kind.FILE_NAMES
    return f"{PREFIX}{layer_name}.{a}", f"{PREFIX}{layer_name}.{b}"


def _as_json(config: LoRAConfig) -> dict[str, Any]:
    alpha = float(config.alpha)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": int(config.rank),
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": float(config.dropout),
        "use_rslora": bool(config.rslora),
        "target_modules": config.targets if isinstance(config.targets, str) else list(config.targets),
        "modules_to_save": list(config.train_also) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }


def _from_json(content: Mapping[str, Any], folder: Path) -> LoRAConfig:
    if not isinstance(content, Mapping):
        raise ValueError(f"{folder / CONFIG} is damaged: it must hold an object {{...}}, got {content!r}.")
    if content.get("peft_type") != "LORA" or not content.get("target_modules"):
        raise ValueError(
            f"{folder / CONFIG} must describe a LoRA adapter with target_modules; its peft_type is "
            f"{content.get('peft_type')!r}, its target_modules are {content.get('target_modules')!r}."
        )
    unknown = {field: value for field, value in content.items() if field not in READ | UNREAD and value}
    if unknown.get("bias") == "none":
        del unknown["bias"]
    if unknown.get("init_lora_weights") in PLAIN_STARTS:
        del unknown["init_lora_weights"]
    if unknown:
        shown = ", ".join(f"{field}={value!r}" for field, value in unknown.items())
        raise ValueError(f"{folder / CONFIG} asks for more than plain LoRA: {shown}.")
    targets, also = content["target_modules"], content.get("modules_to_save") or []
    if not (isinstance(targets, str) or _are_names(targets)) or not _are_names(also):
        raise ValueError(
            f"{folder / CONFIG}: target_modules must be a text or a list of texts and modules_to_save a list of texts, "
            f"got {targets!r} and {also!r}."
        )
    return LoRAConfig(
        rank=content.get("r", 0),
        alpha=content.get("lora_alpha", 0),
        dropout=content.get("lora_dropout", 0.0),
        rslora=content.get("use_rslora", False),
        targets=targets if isinstance(targets, str) else tuple(targets),
        train_also=tuple(also),
    )


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _without_base_weights(tensors: Mapping[str, Tensor], layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Leave out the copies of base weights that peft saves with an adapter of embed_tokens or lm_head."""
    left = dict(tensors)
    for layer_name, layer in layers.items():
        for part, parameter in layer.named_parameters(recurse=False):
            saved = left.pop(f"{PREFIX}{layer_name}.base_layer.{part}", None)
            if saved is not None and not torch.equal(saved.to(parameter), parameter):
                raise ValueError(
                    f"the adapter was made for another base: {layer_name}.{part}, which was saved with it, is not the "
                    "model's."
                )
    return left


def _refuse_differences(expected: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]) -> None:
    differences = [
        f"{key}: the model asks for {tuple(shape)}, the adapter has {tuple(tensors[key].shape)}"
        if key in tensors
        else f"{key}: the targets match this layer of the model, the adapter has nothing for it"
        for key, shape in expected.items()
        if key not in tensors or tensors[key].shape != shape
    ]
    differences += [f"{key}: the model has no layer that takes it" for key in sorted(tensors) if key not in expected]
    if differences:
        more = "" if len(differences) <= MOST_SHOWN else f" (and {len(differences) - MOST_SHOWN} more)"
        raise ValueError(f"the adapter does not fit this model. {'; '.join(differences[:MOST_SHOWN])}{more}.")


def _replace(path: Path, data: bytes) -> None:
    """Write a file such that at any moment the old one or the new one is whole."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)
