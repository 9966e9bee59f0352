"""How a recipe shares one run among the ranks that torchrun started: which part of the model, which rows."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from course_lib.collectives import initialized, rank, world_size
from course_lib.distributed import (
    DDP,
    FullySharded,
    Pipeline,
    TensorParallel,
    TransformerStage,
    device_mesh,
    parallelize_transformer,
    split_transformer,
)
from course_lib.loops import Loss, Objective
from course_lib.loops.backprop import Gradients, backprop
from course_lib.loops.loss import Batch
from course_lib.loops.precision import Precision
from course_lib.nn.transformer import Transformer

Parallel = Literal["ddp", "fsdp", "tp", "pp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Who does what: ``tp`` processes share each layer, ``pp`` such groups share the layers; copies of that take rows.

    Args:
        parallel: ``"ddp"``: the copies are whole, and add up their gradients; ``"fsdp"``: parameters, gradients and the
            optimizer's state are cut up among them, and put together a block at a time to compute; ``"tp"`` and
            ``"pp"``: as ddp, with the degree of that name as large as it can be if it is not given. None is ddp.
        tp: So many neighbouring processes share each layer's arithmetic, on the same rows; 1 by default.
        pp: So many stages that the layers are dealt out to, and that micro-batches go through one behind the other; 1
            by default.

    Raises:
        ValueError: If there is one process, which shares nothing, the degrees do not divide the number of processes, or
            fsdp is asked for with both.
    """

    parallel: Parallel | None = None
    tp: int | None = None
    pp: int | None = None

    def __post_init__(self) -> None:
        if not initialized() and (self.parallel, self.tp, self.pp) != (None, None, None):
            raise ValueError(
                "--parallel, --tp and --pp share the work among processes: start the recipe with torchrun "
                "--nproc-per-node 2 -m in the place of python -m, or leave them out."
            )
        for name in ("tp", "pp"):
            if (given := getattr(self, name)) is not None and (given < 1 or world_size() % given):
                raise ValueError(f"{name} must divide the number of processes, {world_size()}, got {given}.")
        tp, pp = self.degrees
        if world_size() % (tp * pp):
            raise ValueError(f"tp={tp} times pp={pp} must divide the number of processes, {world_size()}.")
        if self.parallel == "fsdp" and tp > 1 and pp > 1:
            raise ValueError("fsdp goes with tp or with pp: take --parallel ddp for all three.")

    @property
    def degrees(self) -> tuple[int, int]:
        """How many processes share each layer, and how many stages there are."""
        tp, pp = self.tp or 1, self.pp or 1
        if self.parallel == "tp" and self.tp is None:
            tp = max(1, world_size() // pp)
        if self.parallel == "pp" and self.pp is None:
            pp = max(1, world_size() // tp)
        return tp, pp

    @property
    def copies(self) -> int:
        """How many copies of the model there are, cut up or not, among which rows are dealt out."""
        tp, pp = self.degrees
        return world_size() // (tp * pp)

    def check(self, *, batch_size: int, ema: float, precision: Precision) -> None:
        """Raise a ValueError if the settings of a run do not fit."""
        tp, pp = self.degrees
        if batch_size < self.copies:
            raise ValueError(
                f"batch_size counts the rows of all processes together, got {batch_size}: take {self.copies} at least, "
                "so that none is left without."
            )
        if ema and (self.parallel == "fsdp" or tp * pp > 1):
            raise ValueError("no process has the whole weights to be averaged: take ddp without tp or pp, or ema 0.")
        if pp > 1 and precision == "fp16":
            raise ValueError("a pipeline does not scale losses for fp16: take bf16.")

    def card(self) -> dict[str, str | int]:
        """Return what a card says of it; nothing of a single process."""
        if world_size() == 1:
            return {}
        degrees = {name: degree for name, degree in zip(("tp", "pp"), self.degrees, strict=True) if degree > 1}
        return {"processes": world_size(), "parallel": self.parallel or "ddp", **degrees}


BY_DEFAULT = Sharing()


@dataclass(slots=True)
class Shared:
    """A model that several processes train, or one.

    Args:
        model: What this process trains: the model given, or its stage of a pipeline. Make the optimizer of this.
        gradients: Of the run.
        place: The number of the copy that this process belongs to: which rows it gets.
        copies: How many copies there are.
    """

    model: nn.Module
    gradients: Gradients
    place: int = 0
    copies: int = 1
    _empty: nn.Module | None = None

    def objective(self, objective: Objective) -> Objective:
        """Return ``objective`` as the run is to have it: it is evaluated through all stages where there are several."""
        if not isinstance(self.gradients, Pipeline):
            return objective
        forward_only = self.gradients.forward_only(objective)

        def either(model: nn.Module, batch: Batch) -> Loss:
            return objective(model, batch) if torch.is_grad_enabled() else forward_only(model, batch)

        return either

    def whole(self) -> nn.Module:
        """Return the model with its weights put together, on every rank; every rank calls this, when it is trained."""
        if self._empty is None:
            return self.model
        engine: Any = self.gradients
        device = next(self.model.parameters()).device
        weights = {**dict(self.model.named_buffers()), **engine.whole_parameters()}
        whole = self._empty.to(device)
        with torch.no_grad():
            for name, tensor in (*whole.named_parameters(), *whole.named_buffers()):
                tensor.copy_(weights[name])
        return whole


def share(model: nn.Module, sharing: Sharing, *, param_dtype: torch.dtype | None = None) -> Shared:
    """Return ``model`` as the processes there are share it; several processes change it in place.

    Args:
        model: Alike on all ranks, and on its device; with tp or pp a `Transformer`.
        sharing: How.
        param_dtype: With fsdp: what parameters are gathered in; gradients are summed in float32 then.

    Raises:
        ValueError: If the model's layers cannot be shared in this way.
    """
    if not initialized():
        return Shared(model, backprop)
    tp, pp = sharing.degrees
    fsdp = sharing.parallel == "fsdp"
    if not fsdp and tp * pp == 1:
        return Shared(model, DDP(model), rank(), world_size())
    if tp * pp > 1 and not isinstance(model, Transformer):
        raise ValueError(f"tp and pp split a Transformer, got {type(model).__name__}: take ddp or fsdp without them.")
    mesh = device_mesh(tp=tp, pp=pp)
    empty = copy.deepcopy(model).cpu()  # what is trained is put together in there
    trained: Any = model
    if pp > 1:
        trained = TransformerStage(trained, mesh.get_local_rank("pp"), pp)
    within: TensorParallel | FullySharded | None = None
    if fsdp:
        if tp > 1:
            parallelize_transformer(trained, mesh)
        reduce_dtype = None if param_dtype is None else torch.float32
        within = FullySharded(trained, mesh=mesh["dp"], param_dtype=param_dtype, reduce_dtype=reduce_dtype)
    elif tp > 1:
        split_transformer(trained, mesh)
        within = TensorParallel(trained, mesh)
    engine: Any = Pipeline(trained, mesh, within=within) if pp > 1 else within
    return Shared(trained, engine, mesh.get_local_rank("dp"), sharing.copies, empty)
