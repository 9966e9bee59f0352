"""The parts of a model whose parameters travel together: its blocks, and whatever is in none of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import nn

from course_lib.distributed.engines.flat_shard import FlatShard


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the modules that repeat: the outermost members of lists and of `nn.Sequential` that have parameters.

    A list is an `nn.ModuleList` or `nn.ModuleDict`. It computes nothing itself, so one inside another is no member.

    Sharded training gathers one of them at a time. So the whole of a block is in memory while it computes, and the
    whole model never is.

    Args:
        model: A Transformer has its layers here, an `nn.Sequential` its members; of a list of lists each member counts.

    Example:
        >>> [type(block).__name__ for block in blocks(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))]
        ['Linear', 'Linear']
    """
    found: list[nn.Module] = []
    waiting = [model]
    while waiting:
        module = waiting.pop(0)
        children = list(module.children())
        if isinstance(module, nn.ModuleList | nn.ModuleDict | nn.Sequential):
            lists = [child for child in children if isinstance(child, nn.ModuleList | nn.ModuleDict)]
            members = [child for child in children if child not in lists]
            found += [child for child in members if any(p.requires_grad for p in child.parameters())]
            waiting += lists
        else:
            waiting += children
    return found


def owners(model: nn.Module, units: Sequence[nn.Module]) -> dict[int, nn.Module]:
    """Return, by the identity of each parameter, the unit it travels with.

    A parameter that no unit has, or that several have (tied weights), travels with ``model`` itself.

    Raises:
        ValueError: If a unit is not a part of ``model``, or holds another one.
    """
    inside = {id(module) for module in model.modules()}
    taken: set[int] = set()
    found: dict[int, nn.Module] = {}
    for unit in units:
        modules = {id(module) for module in unit.modules()}
        if not modules <= inside or unit is model:
            raise ValueError(
                f"a unit must be a part of the model, but a {type(unit).__name__} is not one of its parts."
            )
        if modules & taken:
            raise ValueError(f"units must not share modules, but a {type(unit).__name__} is, or holds, another unit's.")
        taken |= modules
        for parameter in unit.parameters():
            found[id(parameter)] = model if id(parameter) in found else unit
    outside = {id(p) for m in model.modules() if id(m) not in taken for p in m._parameters.values() if p is not None}
    return {id(p): model if id(p) in outside else found[id(p)] for p in model.parameters()}


class Unit:
    """A module whose parameters travel together, in one flat shard for each group of the optimizer that has some."""

    def __init__(self, module: nn.Module, flats: dict[int, FlatShard]) -> None:
        self.module, self.flats = module, flats


def cut_up(
    model: nn.Module,
    modules: Sequence[nn.Module],
    groups: Sequence[Sequence[nn.Parameter]],
    group: dist.ProcessGroup | None,
    *,
    keep_whole: bool,
) -> list[Unit]:
    """Return the units of ``model`` with their flat shards: the model itself first, then those in ``modules``.

    Args:
        model: Its parameters are cut up, those that are in ``groups``.
        modules: See `owners`.
        groups: The parameters in each group of the optimizer.
        group: See `FlatShard`.
        keep_whole: See `FlatShard`.

    Raises:
        ValueError: If a parameter is not one of the model's, or is in two groups.
    """
    owner, names = owners(model, modules), {id(p): name for name, p in model.named_parameters()}
    members: dict[tuple[int, int], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for number, parameters in enumerate(groups):
        for parameter in parameters:
            if id(parameter) not in names or id(parameter) in seen:
                problem = "in two groups" if id(parameter) in seen else "not in the model"
                raise ValueError(f"a parameter of shape {tuple(parameter.shape)} in group {number} is {problem}.")
            seen.add(id(parameter))
            members.setdefault((id(owner[id(parameter)]), number), []).append(parameter)
    units = []
    for module in (model, *modules):
        own = {number: members[id(module), number] for number in range(len(groups)) if (id(module), number) in members}
        flats = {
            number: FlatShard([names[id(p)] for p in parameters], parameters, group, keep_whole=keep_whole)
            for number, parameters in own.items()
        }
        if flats:
            units.append(Unit(module, flats))
    return units
