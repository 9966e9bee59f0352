"""What a run needs to go on, as plain nested data: taken from it, compared with it, and given back to it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib.loops.compiled import original
from course_lib.loops.random_state import check_generators, random_state, restore_random_state

if TYPE_CHECKING:
    from course_lib.loops.run import Run

IMPLEMENTATION = {"foreach", "fused", "capturable", "differentiable"}  # options that do not change what is computed
NEED_STATE = ("amsgrad", "centered", "momentum")  # options that cannot be switched on or off in the middle of a run


def run_state(run: Run) -> dict[str, Any]:
    """Return the state of ``run`` as nested dictionaries and lists of tensors, numbers, strings, booleans and None.

    Tensors are the run's own, not copies: save them, or copy them, before the next step.

    Returns:
        ``model``, ``optimizer`` with ``optimizer_class`` and ``parameter_names``, ``objective`` (if it is a module),
        ``ema``, ``scaler``, ``index``, ``consumed`` and ``random`` (torch's global generators and the run's own).

    Raises:
        NonFiniteStep: If a deferred verdict turns out bad: a skipped step must not be saved as one made.
    """
    run._health.check()
    return {
        "model": original(run.model).state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "optimizer_class": type(run.optimizer).__name__,
        "parameter_names": _parameter_names(run),
        "objective": run.objective.state_dict() if isinstance(run.objective, nn.Module) else None,
        "ema": None if run.ema is None else run.ema.state_dict(),
        "scaler": None if run.scaler is None else run.scaler.state_dict(),
        "index": run.index,
        "consumed": run.consumed,
        "settings": _settings(run),
        "random": random_state(run.device, run.generators),
    }


def load_run_state(run: Run, state: Mapping[str, Any]) -> None:
    """Give ``run`` the state that `run_state` returned, or refuse it as a whole before anything changes.

    The optimizer's options (learning rate, weight decay ...), clipping and the average's decay are settings, not state:
    where the run was built with others than the saved one, its own are kept, with a warning that names them. A learning
    rate that was changed by hand during the run comes back if the initial one is the same. The schedule, the
    objective's code and the data are not saved: that they are the same is up to whoever builds the run.

    Raises:
        ValueError: If the state belongs to another model, optimizer or precision; the message names the difference.

    Warns:
        UserWarning: If a setting differs, or the random state is of another kind of device.
    """
    _refuse_mismatch(run, state)
    own = [{key: value for key, value in group.items() if key != "params"} for group in run.optimizer.param_groups]
    original(run.model).load_state_dict(state["model"])
    run.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
    _keep_own_options(run.optimizer, own)
    for name, value in _settings(run).items():
        if (saved := state["settings"][name]) != value:
            warnings.warn(
                f"the run was saved with {name} {saved}; this run goes on with {value}, as it was built.", stacklevel=3
            )
    if isinstance(run.objective, nn.Module):
        run.objective.load_state_dict(state["objective"])
    if run.ema is not None:
        run.ema.load_state_dict(state["ema"])
    if run.scaler is not None:
        run.scaler.load_state_dict(state["scaler"])
    run.index, run.consumed = state["index"], state["consumed"]
    run._health.forget()
    restore_random_state(state["random"], run.device, run.generators)


def _refuse_mismatch(run: Run, state: Mapping[str, Any]) -> None:
    if (saved := state["settings"]["precision"]) != run.precision:
        raise ValueError(f"the saved run has precision {saved!r}, this one {run.precision!r}: build the run as it was.")
    _compare_tensors("model", original(run.model).state_dict(), state["model"])
    if (saved := state["optimizer_class"]) != (mine := type(run.optimizer).__name__):
        raise ValueError(f"the saved optimizer is {saved}, this run's is {mine}: build the run with {saved}.")
    for number, (saved_names, names) in enumerate(zip(state["parameter_names"], _parameter_names(run), strict=False)):
        if saved_names != names:
            one, other = next(
                pair for pair in zip_longest(saved_names, names, fillvalue="nothing") if pair[0] != pair[1]
            )
            raise ValueError(
                f"parameter group {number} of the optimizer was saved with {one} where this run has {other}: build the "
                "groups in the same order."
            )
    if (saved_count := len(state["parameter_names"])) != (count := len(run.optimizer.param_groups)):
        raise ValueError(f"the saved optimizer has {saved_count} parameter groups, this run's has {count}.")
    for part, value, cure in (
        ("ema", run.ema, "a moving average of the weights (ema=EMA(model))"),
        ("objective", run.objective if isinstance(run.objective, nn.Module) else None, "an objective with weights"),
    ):
        if (state[part] is None) != (value is None):
            has, lacks = ("this run", "the saved one") if state[part] is None else ("the saved run", "this one")
            raise ValueError(f"{has} has {cure}, {lacks} has not: build the run as it was.")
    if run.ema is not None:
        _compare_tensors("ema", run.ema.model.state_dict(), state["ema"]["model"])
    if isinstance(run.objective, nn.Module):
        _compare_tensors("objective", run.objective.state_dict(), state["objective"])
    for group, saved_group in zip(run.optimizer.param_groups, state["optimizer"]["param_groups"], strict=True):
        for name in NEED_STATE:
            if bool(before := saved_group.get(name)) != bool(now := group.get(name)):
                raise ValueError(
                    f"the saved optimizer has {name}={before}, this one {name}={now}: its state cannot be taken over."
                )
    check_generators(state["random"], run.generators)


def _compare_tensors(part: str, mine: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Refuse what has other names, shapes or dtypes."""
    for name in [*mine, *saved]:
        if name not in saved or name not in mine:
            where = "this run has" if name in mine else "the saved one has"
            raise ValueError(f"{part}: only {where} {name!r}; was it built with other layers?")
        one, other = mine[name], saved[name]
        if isinstance(one, Tensor) and (one.shape != other.shape or one.dtype != other.dtype):
            raise ValueError(
                f"{part}: {name!r} was saved as {tuple(other.shape)} {other.dtype}, this run has {tuple(one.shape)} "
                f"{one.dtype}."
            )


def _keep_own_options(optimizer: torch.optim.Optimizer, own: list[dict[str, Any]]) -> None:
    for number, (group, options) in enumerate(zip(optimizer.param_groups, own, strict=True)):
        for name in sorted(options.keys() - {"lr"} - IMPLEMENTATION):
            if name in group and group[name] != options[name]:
                shown = "lr" if name == "initial_lr" else name
                warnings.warn(
                    f"parameter group {number} was saved with {shown} {group[name]}; this run goes on with "
                    f"{options[name]}, as it was built.",
                    stacklevel=4,
                )
                if name == "initial_lr":
                    group["lr"] = options["lr"]
        group |= {name: value for name, value in options.items() if name != "lr"}


def _settings(run: Run) -> dict[str, Any]:
    decay = None if run.ema is None else run.ema.decay
    return {"precision": run.precision, "max_grad_norm": run.max_grad_norm, "decay of the average": decay}


def _parameter_names(run: Run) -> list[list[str]]:
    """The optimizer knows its parameters by position alone; names tell when positions have changed their meaning."""
    names = {id(parameter): name for name, parameter in original(run.model).named_parameters()}
    if isinstance(run.objective, nn.Module):
        names |= {id(parameter): f"objective.{name}" for name, parameter in run.objective.named_parameters()}
    return [[names.get(id(p), "not of the model") for p in group["params"]] for group in run.optimizer.param_groups]
