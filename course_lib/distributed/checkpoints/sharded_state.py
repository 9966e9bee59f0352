"""A run's state with its sharded tensors taken out, and put back in the cut that this run has."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib.collectives import initialized
from course_lib.distributed.checkpoints.cuts import Cut
from course_lib.loops import Run
from course_lib.loops.compiled import original

if TYPE_CHECKING:
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

MARK = "sharded tensor"  # {MARK: name} stands in the state for what was taken out
STAGES = "in stages"  # in the state of a pipeline: whether each rank has only some of the layers

State = dict[str, Any]
Room = dict[str, Tensor]  # for sharded tensors, by their marks


def take_out(run: Run) -> tuple[State, dict[str, Tensor]]:
    """Return the state of ``run`` without its sharded tensors, and those by name, each rank's own part of them.

    A name says what a tensor is, not how it was cut: ``model.blocks.0.norm.weight``, ``optimizer.3.exp_avg`` (what the
    optimizer keeps for its parameter number 3). In a pipeline, where each stage counts its own parameters, it is
    ``optimizer.blocks.0.norm.weight.exp_avg``. A tied weight has its first name only.
    """
    state, cut = run.state_dict(), Cut(run)
    shards: dict[str, Tensor] = {}

    def marked(name: str, value: Any, parameter: nn.Parameter | None) -> Any:
        shared = cut.shared(value, parameter)
        if shared is None:
            return value
        shards[name] = shared
        return {MARK: name}

    model, by_name = copy.copy(state["model"]), _by_name(run)  # the copy keeps its modules' versions
    for name in _second_names(run):
        del model[name]
    for name, value in model.items():
        if name in by_name:
            model[name] = marked(f"model.{name}", value, by_name[name])
    optimizer, parameters, names = dict(state["optimizer"]), _parameters(run), _flat(state["parameter_names"])
    optimizer["state"] = {
        number: {
            key: marked(f"optimizer.{names[number] if cut.in_stages else number}.{key}", value, parameters[number])
            for key, value in kept.items()
        }
        for number, kept in optimizer["state"].items()
    }
    return {**state, "model": model, "optimizer": optimizer, STAGES: cut.in_stages}, shards


def room_for(run: Run, state: State, folder: Path) -> tuple[State, Room]:
    """Return ``state`` with the layers that this run has, and empty tensors, in its own cut, for what was taken out.

    Each rank does this for itself. The run is not changed.

    Raises:
        ValueError: If this run has no such tensors, or has them in other shapes.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    cut, own = Cut(run), run.state_dict()
    for name in _second_names(run):
        del own["model"][name]
    metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    saved: dict[str, TensorStorageMetadata] = metadata.state_dict_metadata  # type: ignore[assignment]
    if state.pop(STAGES, False) or cut.in_stages:
        state = _for_these_layers(state, own, saved)
    by_name, parameters = _by_name(run), _parameters(run)
    targets: Room = {}

    def target(mark: str, parameter: nn.Parameter | None, like: Tensor) -> None:
        """Room for what was taken out, in this run's cut; ``like`` has its shape here."""
        shared = cut.shared(like, parameter)
        room = like if shared is None else shared
        if mark in saved and saved[mark].size == torch.Size() != room.shape:  # such as a count of steps
            room = torch.empty((), dtype=saved[mark].properties.dtype, device=run.device)
        if mark not in saved or saved[mark].size != room.shape:
            shape = str(tuple(saved[mark].size)) if mark in saved else "no such tensor"
            raise ValueError(
                f"{mark}: the checkpoint has {shape}, this run has {tuple(room.shape)}: build model, units and engine "
                "as they were; the number of ranks may differ."
            )
        targets[mark] = torch.zeros_like(room)

    for name, value in state["model"].items():
        if (mark := _mark(value)) is not None:
            if name not in own["model"]:
                raise ValueError(
                    f"the saved run has a sharded {name!r}, this one has not: build model and engine as then."
                )
            target(mark, by_name.get(name), own["model"][name])
    for number, kept in state["optimizer"]["state"].items():
        for value in kept.values():
            if (mark := _mark(value)) is not None:
                if number >= len(parameters):
                    raise ValueError(f"the saved optimizer has a parameter {number}, this one has {len(parameters)}.")
                target(mark, parameters[number], parameters[number].detach())
    return state, targets


def read_into(room: Room, folder: Path) -> None:
    """Fill ``room`` with what ``folder`` has under its names; every rank calls this, and reads what it needs."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process may load what many saved
        load(dict(room), storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=not initialized())


def put_back(run: Run, state: State, room: Room) -> State:
    """Return ``state`` with the tensors that `take_out` took out of it, those of ``room``. The run is not changed."""
    cut, by_name, parameters = Cut(run), _by_name(run), _parameters(run)

    def filled(value: Any, parameter: nn.Parameter | None) -> Any:
        mark = _mark(value)
        if mark is not None:
            return cut.own(room[mark], parameter)
        return cut.part(value, parameter) if isinstance(value, Tensor) else value

    model = copy.copy(state["model"])
    for name, value in model.items():
        model[name] = filled(value, by_name.get(name))
    model |= {name: model[first] for name, first in _second_names(run).items()}
    kept_state = {
        number: {key: filled(value, parameters[number]) for key, value in kept.items()}
        for number, kept in state["optimizer"]["state"].items()
    }
    return {**state, "model": model, "optimizer": {**state["optimizer"], "state": kept_state}}


def _for_these_layers(state: State, own: State, saved: Mapping[str, Any]) -> State:
    """Return ``state`` with the layers of ``own``, where one of the two runs, or both, have only some of them.

    Raises:
        ValueError: If something is missing, or the optimizer has other groups.
    """
    found = {f"model.{name}": value for name, value in state["model"].items()}
    names = _flat(state["parameter_names"])
    for number, kept in state["optimizer"]["state"].items():
        found |= {f"optimizer.{names[number]}.{key}": value for key, value in kept.items()}
    found |= {name: {MARK: name} for name in saved}
    kept_for: dict[str, State] = {}
    for name, value in found.items():
        kind, _, rest = name.partition(".")
        parameter, _, key = rest.rpartition(".")
        if kind == "optimizer":
            kept_for.setdefault(parameter, {})[key] = value
    own_names = _flat(own["parameter_names"])
    missing = [f"model.{name}" for name in own["model"] if f"model.{name}" not in found]
    missing += [f"optimizer.{name}" for name in own_names if kept_for and name not in kept_for]
    if missing:
        raise ValueError(f"the checkpoint has no {missing[0]!r}, this run has: build model and engine as then.")
    groups, own_groups = state["optimizer"]["param_groups"], own["optimizer"]["param_groups"]
    if len(groups) != len(own_groups):
        raise ValueError(f"the saved optimizer has {len(groups)} parameter groups, this run's has {len(own_groups)}.")
    optimizer = {
        "state": {number: kept_for[name] for number, name in enumerate(own_names) if name in kept_for},
        "param_groups": [{**group, "params": mine["params"]} for group, mine in zip(groups, own_groups, strict=True)],
    }
    model = copy.copy(own["model"])
    for name in model:
        model[name] = found[f"model.{name}"]
    return {**state, "model": model, "optimizer": optimizer, "parameter_names": own["parameter_names"]}


def _mark(value: Any) -> str | None:
    return value[MARK] if isinstance(value, Mapping) and set(value) == {MARK} else None


def _by_name(run: Run) -> dict[str, nn.Parameter]:
    """The model's parameters by all the names that they have in its state."""
    return dict(original(run.model).named_parameters(remove_duplicate=False))


def _second_names(run: Run) -> dict[str, str]:
    """The names of tied parameters after the first, with the first."""
    model = original(run.model)
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    return {name: first[id(p)] for name, p in _by_name(run).items() if first[id(p)] != name}


def _parameters(run: Run) -> list[nn.Parameter]:
    """In the order by which an optimizer's state numbers them."""
    return [parameter for group in run.optimizer.param_groups for parameter in group["params"]]


def _flat(names: list[list[str]]) -> list[str]:
    return [name for group in names for name in group]
