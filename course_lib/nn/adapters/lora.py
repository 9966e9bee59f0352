"""LoRA: a model is adapted by small low-rank matrices beside its weights, which stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from course_lib.nn.adapters.lora_layers import KINDS, LoRAConfig, LoRALayer
from course_lib.nn.adapters.targets import Targets, freeze, matching, plain


def add_lora(
    model: nn.Module,
    targets: Targets,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    rslora: bool = False,
    train_also: Targets = (),
    name: str = "default",
    generator: torch.Generator | None = None,
) -> list[str]:
    """Give layers ``W`` a low-rank update, ``W x + scale * B A x``, and let nothing but it learn.

    A fine-tune moves weights by little, and mostly in few directions: a matrix of rank 8 holds most of it with a
    hundredth of the numbers. At the start the update is zero, so the model computes what it did before. Layers keep
    their names and parameters (``blocks.0.attention.query.weight``); the adapter's are found beside them
    (``blocks.0.attention.query.lora.default.A`` and ``.B``) and travel in the model's state dict.

    A model may hold several adapters. The new one is the active one, and the only one that learns; see `use_lora`.

    Args:
        model: Changed in place. Afterwards only the adapter and ``train_also`` require gradients.
        targets: Which layers: `nn.Linear`, `nn.Embedding` or `nn.Conv2d`, by the endings of their names
            (``["query", "value"]``) or a regular expression for whole names; see `matching`. For all linear layers:
            ``[name for name, layer in model.named_modules() if type(layer) is nn.Linear]``.
        rank: Of ``B A``.
        alpha: The scale is ``alpha / rank``: the same alpha fits several ranks.
        dropout: Of what enters A, in training mode. The ids that enter an embedding are not dropped.
        rslora: Scale by ``alpha / sqrt(rank)`` instead, with which higher ranks learn as fast as low ones.
        train_also: Modules that learn in full besides, such as a new task's ``["head"]``; they are saved with the
            adapter.
        name: Of the adapter.
        generator: Where starting values come from; torch's global one if None.

    Returns:
        The names of the layers with an update.

    Raises:
        ValueError: If targets match nothing, or what cannot be adapted; for settings out of range; if there is an
            adapter of that name, another one trains the same module in full, or adapters are merged. Then nothing has
            changed.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        >>> add_lora(model, ["0", "2"], rank=4)
        ['0', '2']
        >>> sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)  # 4 * (64+64+64+10)
        808

    Reference: Hu et al. 2021, LoRA: low-rank adaptation of large language models, eq. 3,
    https://arxiv.org/abs/2106.09685; rsLoRA: Kalajdzievski 2023, A rank stabilization scaling factor for fine-tuning
    with LoRA, https://arxiv.org/abs/2312.03732
    """
    model = plain(model)
    targets = targets if isinstance(targets, str) else tuple(targets)
    _check_name(model, name)
    layers = matching(model, targets)
    _check_layers(model, layers)
    also = matching(model, train_also, called="train_also") if train_also else {}
    _check_apart(model, layers, also)
    config = LoRAConfig(
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        rslora=rslora,
        targets=targets,
        train_also=tuple(also),
    )
    freeze(model, train_also=tuple(also))
    for layer in layers.values():
        _as_lora_layer(layer).add(name, config, generator)
    use_lora(model, name)
    return list(layers)


def use_lora(model: nn.Module, *names: str) -> None:
    """Switch: let these adapters act and learn, the others not. Several add up; none leaves the base.

    The modules that learn in full with an adapter learn or are frozen with it, but have one value for all.

    Raises:
        ValueError: If there is no such adapter, adapters are merged, or ``model`` is a part that lacks what learns in
            full with one. Then nothing has changed.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4))
        >>> for name in ("french", "german"):
        ...     _ = add_lora(model, ["0"], name=name)
        >>> use_lora(model, "french")
        >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        ['0.lora.french.A', '0.lora.french.B']
    """
    layers = lora_layers(model)
    for name in names:
        config_of(model, name)
    if len(set(names)) < len(names):
        raise ValueError(f"each adapter acts once, got {names}.")
    _check_not_merged(layers)
    in_full = {name: learning_in_full(plain(model), name) for name in lora_names(model)}
    for layer in layers.values():
        layer.active = tuple(name for name in names if name in layer.lora)
        for name, update in layer.lora.items():
            update.requires_grad_(name in names)
    for name, modules in in_full.items():
        for module in modules.values():
            module.requires_grad_(name in names)


def lora_names(model: nn.Module) -> list[str]:
    """Return the names of the adapters that a model holds, in the order in which its layers got them."""
    return list(dict.fromkeys(name for layer in lora_layers(model).values() for name in layer.lora))


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Let the base act alone inside the ``with`` block, merged or not: the reference model of the one that learns.

    Modules that learnt in full with an adapter keep what they learnt. At the block's end the adapters act that acted
    before it, whatever was switched inside.

    Raises:
        ValueError: If the model has no adapter: what acts would be the model that learns.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4))
        >>> x = torch.ones(1, 4)
        >>> before = model(x)
        >>> _ = add_lora(model, ["0"])
        >>> _ = nn.init.ones_(model[0].lora["default"].B)
        >>> with without_lora(model):
        ...     print(torch.equal(model(x), before))
        True
    """
    layers = list(some_lora_layers(model).values())
    active = [layer.active for layer in layers]
    for layer in layers:
        layer.active = ()
    try:
        yield
    finally:
        for layer, names in zip(layers, active, strict=True):
            layer.active = names


def lora_layers(model: nn.Module) -> dict[str, LoRALayer]:
    """Return the layers that have adapters, by name."""
    return {name: layer for name, layer in plain(model).named_modules() if isinstance(layer, LoRALayer)}


def some_lora_layers(model: nn.Module) -> dict[str, LoRALayer]:
    """Return the layers that have adapters, by name.

    Raises:
        ValueError: If there are none.
    """
    if not (layers := lora_layers(model)):
        raise ValueError("this model has no LoRA adapter: add one by add_lora, or load one by load_lora.")
    return layers


def are_merged(layers: dict[str, LoRALayer]) -> bool:
    """Return whether any layer computes with a merged weight."""
    return any(layer.merged_weight is not None for layer in layers.values())


def _as_lora_layer(layer: nn.Module) -> LoRALayer:
    if not isinstance(layer, LoRALayer):
        layer.__class__ = KINDS[type(layer)]  # it stays the object that others hold
        layer.lora = nn.ModuleDict()
        layer.active = ()  # type: ignore[assignment]
        layer.register_buffer("merged_weight", None, persistent=False)  # moves with the model, is not saved
    assert isinstance(layer, LoRALayer)
    return layer


def config_of(model: nn.Module, name: str) -> LoRAConfig:
    """Return what an adapter was made with.

    Raises:
        ValueError: If there is no such adapter.
    """
    for layer in lora_layers(model).values():
        if name in layer.lora:
            config = layer.lora[name].config
            assert isinstance(config, LoRAConfig)
            return config
    raise ValueError(f"this model has no adapter {name!r}; it has {', '.join(lora_names(model)) or 'none'}.")


def learning_in_full(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """Return the modules that learn in full with an adapter, by name.

    Raises:
        ValueError: If there is no such adapter, or ``model`` is a part that does not hold them.
    """
    found = {}
    for module_name in config_of(model, name).train_also:
        try:
            found[module_name] = model.get_submodule(module_name)
        except AttributeError as error:
            raise ValueError(
                f"{module_name!r} learns in full with the adapter {name!r}, and this {type(model).__name__} does not "
                "hold it: pass the whole model that add_lora or load_lora was given, not a part of it."
            ) from error
    return found


def _check_name(model: nn.Module, name: str) -> None:
    if not name.isidentifier() or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            f"an adapter's name must be one word of letters, digits and underscores (and no attribute of ModuleDict), "
            f"got {name!r}."
        )
    if name in lora_names(model):
        raise ValueError(f"this model has an adapter {name!r} already: give the new one another name.")
    _check_not_merged(lora_layers(model))


def _check_layers(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    for name, layer in layers.items():
        if type(layer) not in KINDS and not isinstance(layer, LoRALayer):
            raise ValueError(
                f"LoRA is for layers of the types Linear, Embedding and Conv2d themselves; targets match {name!r}, a "
                f"{type(layer).__name__}: choose targets that match no other. (transformers' Conv1D is a linear layer "
                "of its own kind: course_lib.nn.transformer takes over a GPT-2's weights, into linear layers.)"
            )
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.padding_mode != "zeros"):
            raise ValueError(
                f"LoRA is for convolutions with groups=1 that pad with zeros; {name!r} has groups={layer.groups} and "
                f"pads with {layer.padding_mode!r}."
            )
        if isinstance(layer, nn.Embedding) and (layer.max_norm or layer.scale_grad_by_freq or layer.sparse):
            raise ValueError(
                f"LoRA is for embeddings without max_norm, scale_grad_by_freq and sparse; {name!r} has one of them."
            )
        parent = model.get_submodule(name.rpartition(".")[0])
        if isinstance(parent, nn.TransformerEncoderLayer):
            raise ValueError(
                f"torch's TransformerEncoderLayer reads the weights of {name!r} without calling it, so an update "
                "would be left out: use course_lib.nn.transformer, or adapt other layers."
            )


def _check_apart(model: nn.Module, layers: dict[str, nn.Module], also: dict[str, nn.Module]) -> None:
    adapted = {id(layer): name for name, layer in (lora_layers(model) | layers).items()}
    taken = {
        id(part): other
        for other in lora_names(model)
        for module in learning_in_full(model, other).values()
        for part in module.modules()
    }
    for name, module in also.items():
        if owners := [taken[id(part)] for part in module.modules() if id(part) in taken]:
            raise ValueError(
                f"{name!r} learns in full with the adapter {owners[0]!r} already, and there is only one of it: use a "
                "copy of the model for the new adapter."
            )
        if both := [adapted[id(part)] for part in module.modules() if id(part) in adapted]:
            raise ValueError(f"{both[0]!r} has an update and is, by train_also {name!r}, to learn in full: choose one.")


def _check_not_merged(layers: dict[str, LoRALayer]) -> None:
    if are_merged(layers):
        raise ValueError("adapters are merged: call unmerge_lora(model) first.")
