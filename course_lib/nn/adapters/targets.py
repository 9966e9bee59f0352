"""Finding a model's layers by their names, and choosing which of its parameters learn."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

Targets = str | Sequence[str]
"""A regular expression for whole module names, or a list of their endings: what peft means by ``target_modules``."""


class Adapted(nn.Module):
    """Marks a layer to which something small was added; all its children are such additions."""


def plain(model: nn.Module) -> nn.Module:
    """Return the model behind what ``torch.compile`` returned, whose names have no prefix; or the model itself."""
    inner = getattr(model, "_orig_mod", model)
    assert isinstance(inner, nn.Module)
    return inner


def matching(model: nn.Module, targets: Targets, *, called: str = "targets") -> dict[str, nn.Module]:
    r"""Return the modules of ``model`` whose names ``targets`` match, in the model's order.

    A module that is used at several places has several names. One that matches is enough; it is returned once, under
    the first.

    Args:
        model: Where to look. Neither the model itself nor the parts of adapters are found.
        targets: A regular expression, which must match the whole of a name (``r"blocks\.[01]\..*query"``); or a list
            of endings (``["query", "feed_forward.up"]``), which must begin at a dot or be the whole name.
        called: What messages call them.

    Returns:
        Name -> module.

    Raises:
        ValueError: If there is no target; if the expression, or one of the endings, matches nothing, or is no regular
            expression.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> list(matching(model, ["2"])), list(matching(model, r"[0-9]"))
        (['2'], ['0', '1', '2'])
    """
    if not targets:
        raise ValueError(f"{called} must name at least one module, got {targets!r}.")
    first_names = {id(module): name for name, module in model.named_modules()}
    for module in model.modules():
        if isinstance(module, Adapted):
            for part in list(module.modules())[1:]:
                first_names.pop(id(part), None)
    names = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if name]
    names = [(name, module) for name, module in names if id(module) in first_names]
    found: dict[int, nn.Module] = {}
    for target in [targets] if isinstance(targets, str) else list(targets):
        pattern = _compiled(target, called) if isinstance(targets, str) else re.compile(rf"(.*\.)?{re.escape(target)}")
        hits = {id(module): module for name, module in names if pattern.fullmatch(name)}
        if not hits:
            leaves = sorted({name.rpartition(".")[2] for name, module in names if not list(module.children())})
            kind = "regular expression for whole names" if isinstance(targets, str) else "ending of a name"
            raise ValueError(
                f"{called}: the {kind} {target!r} matches no module of this {type(model).__name__}, whose layers' "
                f"names end in {', '.join(leaves)}."
            )
        found |= hits
    return {name: found[key] for key, name in first_names.items() if key in found}


def freeze(model: nn.Module, *, train_also: Targets = ()) -> None:
    """Let no parameter learn, except those of the modules that ``train_also`` names: feature extraction.

    Normalisation layers with running statistics still update those in training mode.

    Args:
        model: Changed in place.
        train_also: See `matching`; empty for none.

    Raises:
        ValueError: If ``train_also`` matches nothing; then nothing has changed.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> freeze(model, train_also=["1"])
        >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        ['1.weight', '1.bias']
    """
    model = plain(model)
    learning = matching(model, train_also, called="train_also") if train_also else {}
    model.requires_grad_(False)
    for module in learning.values():
        module.requires_grad_(True)


def _compiled(pattern: str, called: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{called}: {pattern!r} is no regular expression: {error}.") from error
