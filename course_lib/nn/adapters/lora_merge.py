"""Putting LoRA's updates into the weights: for a while, for good, or as vectors to do arithmetic with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn.adapters.lora import lora_layers, some_lora_layers
from course_lib.nn.adapters.lora_layers import KINDS, LoRALayer
from course_lib.nn.adapters.targets import plain
from course_lib.nn.transformer import Transformer


def merge_lora(model: nn.Module) -> None:
    """Let layers compute with ``W + scale * B A`` as one matrix: the same output at the base's cost.

    For use, not for learning: merged adapters get no gradient. The layers' ``weight`` stays the base's, so weights that
    are shared with another layer are no difficulty and the state dict is as before; the merged ones take as much
    memory again, until `unmerge_lora`, or `remove_lora` with ``merge=True`` for a plain model. Merging what is merged
    changes nothing. Loading a state dict unmerges; other changes of the weights come into effect after `unmerge_lora`.

    Raises:
        ValueError: If the model has no adapter.
    """
    for layer in some_lora_layers(model).values():
        if layer.active and layer.merged_weight is None:
            layer.merged_weight = layer.updated_weight()


def unmerge_lora(model: nn.Module) -> None:
    """Undo `merge_lora`; the base's bits are what they were. Nothing happens if nothing is merged."""
    for layer in lora_layers(model).values():
        layer.merged_weight = None


def remove_lora(model: nn.Module, *, merge: bool = False) -> None:
    """Make layers plain again, without adapters; with ``merge`` the active ones stay in the weights, for good.

    What was frozen stays frozen.

    Raises:
        ValueError: If the model has no adapter, or a weight that is to be written to serves another layer too (an
            embedding that is also the output layer): that layer would change with it. Then nothing has changed.
    """
    layers = some_lora_layers(model)
    if merge:
        _check_unshared(plain(model), layers)
    for layer in layers.values():
        if merge and layer.active:
            with torch.no_grad():
                layer.weight.copy_(layer.updated_weight())
        del layer.lora, layer.active, layer.merged_weight
        layer.__class__ = next(kind for kind, adapted in KINDS.items() if type(layer) is adapted)  # type: ignore[assignment]


def lora_updates(model: nn.Module) -> dict[str, Tensor]:
    """Return ``scale * B A`` of the active adapters under their weights' names: a task vector, see `add_task_vectors`.

    The mean of two adapters is not that of their matrices (``B A`` is no linear function of the pair), but that of
    these. Where a weight serves two layers of which one is adapted (an embedding that is also the output layer), no
    weight has the adapter's effect.

    Raises:
        ValueError: If the model has no adapter.
    """
    with torch.no_grad():
        return {f"{name}.weight": layer.update_of_weight() for name, layer in some_lora_layers(model).items()}


def _check_unshared(model: nn.Module, layers: dict[str, LoRALayer]) -> None:
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
        if isinstance(module, Transformer) and module.has_head and module.head is None:
            owners.setdefault(id(module.embedding.weight), []).append("the output layer")
    for name, layer in layers.items():
        others = [owner for owner in owners[id(layer.weight)] if owner != name]
        if layer.active and others:
            raise ValueError(
                f"the weight of {name!r} also serves {others[0]!r}, which merging for good would change too: use "
                "merge_lora, or remove_lora(model) without merge."
            )
