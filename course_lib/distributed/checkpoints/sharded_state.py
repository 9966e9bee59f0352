"""A run's state with its sharded tensors taken out, and put back in the cut that this run has."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib.distributed.engines.flat_shard import FlatShard
from course_lib.distributed.engines.zero import Zero
from course_lib.loops import Run
from course_lib.loops.compiled import original

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

MARK = "sharded tensor"  # {MARK: name} stands in the state for what was taken out


def take_out(run: Run) -> tuple[dict[str, Any], dict[str, DTensor]]:
    """Return the state of ``run`` without its sharded tensors, and those by name, each rank's own part of them.

    A name says what a tensor is, not how it was cut: ``model.blocks.0.norm.weight``, ``optimizer.3.exp_avg`` (what the
    optimizer keeps for its parameter number 3).
    """
    state = run.state_dict()
    shards: dict[str, DTensor] = {}
    flats = _flats_by_name(run)

    def marked(name: str, value: Any, flat: FlatShard | None) -> Any:
        sharded = _sharded(value, flat)
        if sharded is None:
            return value
        shards[name] = sharded
        return {MARK: name}

    model = copy.copy(state["model"])  # an ordered dictionary that keeps its modules' versions
    for name, value in model.items():
        model[name] = marked(f"model.{name}", value, flats.get(name))
    optimizer, parameters = dict(state["optimizer"]), _parameters(run)
    optimizer["state"] = {
        number: {
            key: marked(f"optimizer.{number}.{key}", value, _flat(run, parameters[number]))
            for key, value in kept.items()
        }
        for number, kept in optimizer["state"].items()
    }
    return {**state, "model": model, "optimizer": optimizer}, shards


def put_back(run: Run, state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return ``state`` with the tensors that `take_out` took out of it, read from ``folder`` in this run's own cut.

    Every rank calls this, and reads what it needs. The run is not changed.

    Raises:
        ValueError: If this run has no such tensors, or has them in other shapes.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    wanted: dict[str, Tensor] = {}
    flats: dict[str, FlatShard | None] = {}
    own, own_flats, parameters = original(run.model).state_dict(), _flats_by_name(run), _parameters(run)
    for name, value in state["model"].items():
        if (mark := _mark(value)) is not None:
            if name not in own:
                raise ValueError(
                    f"the saved run has a sharded {name!r}, this one has not: build model and engine as then."
                )
            wanted[mark], flats[mark] = own[name], own_flats.get(name)
    for number, kept in state["optimizer"]["state"].items():
        for value in kept.values():
            if (mark := _mark(value)) is not None:
                if number >= len(parameters):
                    raise ValueError(f"the saved optimizer has a parameter {number}, this one has {len(parameters)}.")
                wanted[mark], flats[mark] = parameters[number].detach(), _flat(run, parameters[number])
    if not wanted:
        return state
    targets = {name: torch.zeros_like(_sharded(value, flats[name], value)) for name, value in wanted.items()}
    reader = HuggingFaceStorageReader(str(folder))
    saved = reader.read_metadata().state_dict_metadata
    for name, target in targets.items():
        if name not in saved or saved[name].size != target.shape:  # type: ignore[union-attr]
            shape = "no such tensor" if name not in saved else str(tuple(saved[name].size))  # type: ignore[union-attr]
            raise ValueError(
                f"{name}: the checkpoint has {shape}, this run has {tuple(target.shape)}: build model, units and "
                "engine as they were; the number of ranks may differ."
            )
    load(dict(targets), storage_reader=reader)

    def filled(value: Any) -> Any:
        if (mark := _mark(value)) is None:
            return value
        flat = flats[mark]
        return targets[mark] if flat is None else flat.from_dtensor(targets[mark])  # type: ignore[arg-type]

    model = copy.copy(state["model"])
    for name, value in model.items():
        model[name] = filled(value)
    kept_state = {
        number: {key: filled(value) for key, value in kept.items()}
        for number, kept in state["optimizer"]["state"].items()
    }
    return {**state, "model": model, "optimizer": {**state["optimizer"], "state": kept_state}}


def _mark(value: Any) -> str | None:
    return value[MARK] if isinstance(value, Mapping) and set(value) == {MARK} else None


def _sharded(value: Any, flat: FlatShard | None, otherwise: Any = None) -> Any:
    """What torch's checkpoints take as sharded: a DTensor, or a flat shard made into one."""
    from torch.distributed.tensor import DTensor

    if isinstance(value, DTensor):
        return value
    if flat is not None and isinstance(value, Tensor) and value.shape == flat.shard.shape:
        return flat.as_dtensor(value)
    return otherwise


def _flats_by_name(run: Run) -> dict[str, FlatShard]:
    """The flat shards that stand in the model itself, as in ZeRO's stage 3."""
    named = original(run.model).named_parameters()
    return {name: flat for name, parameter in named if (flat := _flat(run, parameter)) is not None}


def _flat(run: Run, parameter: nn.Parameter) -> FlatShard | None:
    return run.gradients.flats.get(id(parameter)) if isinstance(run.gradients, Zero) else None


def _parameters(run: Run) -> list[nn.Parameter]:
    """In the order by which an optimizer's state numbers them."""
    return [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
