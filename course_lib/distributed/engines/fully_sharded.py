"""Torch's FSDP2 as the ``gradients`` of a run: parameters, gradients and optimizer state in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.distributed.engines.same_model import check_same_model
from course_lib.distributed.engines.units import blocks
from course_lib.distributed.same_rows import SameRows
from course_lib.loops import Loss, Objective, OverRanks, Run, backprop
from course_lib.loops.compiled import original
from course_lib.loops.loss import Batch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class FullySharded:
    """Every parameter cut up along its first dimension, by torch's `fully_shard`; blocks are gathered to compute.

    Parameters keep their names and become sharded tensors (`DTensor`) of the whole shape, gradients and the optimizer's
    state as well. Gathering the next block overlaps with computing this one on a GPU. Gradients are **summed** over
    ranks, and the run divides them by all targets of the step, so ragged batches are exact. Every rank must call the
    same units as often as the others, in evaluation too; within a unit ranks may use different parameters (before torch
    2.13 they must use the same).

    Build it first, then the optimizer over ``model.parameters()``, then the run. A model that is already split by
    tensor parallelism (DTensors on another dimension of one mesh) is sharded on top; the ranks that share it must see
    the same rows.

    Args:
        model: Changed in place. Rank 0's weights are taken by all, unless they are DTensors already.
        mesh: Ranks that share the work, as a mesh with one dimension; two mean copies of the model (first dimension)
            that are each sharded (second), both named. All ranks by default.
        units: Modules that are gathered at a time; those of `blocks` by default. The rest is one more unit.
        param_dtype: What to gather and compute in (`torch.bfloat16`); parameters stay as they are between. Take this,
            not the run's ``precision="bf16"``: autocast keeps a copy of every matrix until the backward pass.
        reduce_dtype: What to sum gradients in; that of ``param_dtype`` by default.
        reshard_after_forward: False keeps gathered parameters for the backward pass: more memory, less traffic (ZeRO's
            stage 2).
        methods: Names of methods of ``model`` besides ``forward`` that an objective calls to compute.

    Raises:
        ValueError: If there is no process group, ranks have built different models, or ``mesh`` does not fit; when the
            run is built, if its optimizer has parameters that are not sharded, or it keeps a moving average; in a step,
            if ranks that share each layer see different rows or, in the first step, compute different losses.

    Example:
        >>> import tempfile
        >>> from course_lib.loops import regression
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     dist.init_process_group("gloo", store=dist.FileStore(file.name, 1), rank=0, world_size=1)
        ...     model = nn.Linear(3, 1)
        ...     engine = FullySharded(model)
        ...     run = Run(model, regression, torch.optim.AdamW(model.parameters(), lr=0.1), gradients=engine)
        ...     step = run.step((torch.ones(4, 3), torch.ones(4, 1)))
        ...     print(type(model.weight.data).__name__, engine.whole_parameters()["weight"].shape)
        ...     dist.destroy_process_group()
        DTensor torch.Size([1, 3])

    Reference: Zhao et al. 2023, PyTorch FSDP: experiences on scaling fully sharded data parallel,
    https://arxiv.org/abs/2304.11277
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mesh: DeviceMesh | None = None,
        units: Sequence[nn.Module] | None = None,
        param_dtype: torch.dtype | None = None,
        reduce_dtype: torch.dtype | None = None,
        reshard_after_forward: bool = True,
        methods: Sequence[str] = (),
    ) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import (
            FSDPModule,
            MixedPrecisionPolicy,
            fully_shard,
            register_fsdp_forward_method,
        )

        self._model = original(model)
        group = _group(mesh)
        sharing = _sharing_ranks(self._model)
        check_same_model(self._model, group)
        device = next(self._model.parameters()).device
        mesh = mesh or init_device_mesh(device.type, (world_size(),))
        _copy_from_first(self._model, group)
        options: dict[str, Any] = {
            "mesh": mesh,
            "reshard_after_forward": reshard_after_forward,
            "mp_policy": MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=reduce_dtype),
        }
        for module in (*(blocks(self._model) if units is None else units), self._model):
            fully_shard(module, **options)
        for part in self._model.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)  # the sum, not the mean
                part.set_force_sum_reduction_for_comms(True)
                if hasattr(part, "set_reduce_scatter_unused_params"):  # else it adds up gradients of different ones
                    part.set_reduce_scatter_unused_params(True)
        for name in methods:
            register_fsdp_forward_method(self._model, name)
        self._same = SameRows(sharing, device)
        self.over_ranks = OverRanks(group=group, summed=True, norm=_norm, check=self._check)

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave the gradient, summed over micro-batches and ranks, sharded in ``.grad``; return this rank's losses."""
        self._same.check(micro_batches)
        losses = backprop(model, objective, micro_batches)  # torch's hooks reduce in every backward pass
        self._same.check_losses(losses)
        return losses

    def whole_parameters(self) -> dict[str, Tensor]:
        """Return all parameters as plain tensors, by their names; every rank must call this."""
        return {name: _whole(parameter.detach()) for name, parameter in self._model.named_parameters()}

    def whole_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that the last update used, by the names of parameters; every rank must call this."""
        return {name: _whole(p.grad) for name, p in self._model.named_parameters() if p.grad is not None}

    def _check(self, run: Run) -> None:
        from torch.distributed.tensor import DTensor

        stepped = {id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]}
        sharded = {id(parameter) for parameter in self._model.parameters() if isinstance(parameter, DTensor)}
        if not stepped <= sharded or original(run.model) is not self._model:
            raise ValueError(
                "the run must train the model that FullySharded was built with, by an optimizer made afterwards: "
                "engine = FullySharded(model); optimizer = AdamW(model.parameters(), ...); Run(..., gradients=engine)."
            )
        if run.ema is not None:
            raise ValueError(
                "no rank has the whole weights to be averaged: take DDP, or Zero's stage 1 or 2, with an EMA."
            )


def _sharing_ranks(model: nn.Module) -> list[dist.ProcessGroup]:
    """The ranks among which tensor parallelism has split the model already."""
    from torch.distributed.tensor import DTensor

    meshes = (parameter.device_mesh for parameter in model.parameters() if isinstance(parameter, DTensor))
    split = next(meshes, None)
    return [] if split is None else [split.get_group(dimension) for dimension in range(split.ndim)]


def _group(mesh: DeviceMesh | None) -> dist.ProcessGroup | None:
    """The ranks that see different rows: all of the mesh."""
    if mesh is None or mesh.size() == world_size():
        return None
    if mesh.ndim > 1:
        raise ValueError(
            f"a mesh of {mesh.ndim} dimensions must hold all {world_size()} ranks, got {mesh.size()}: give a mesh of "
            "one dimension beside other forms of parallelism."
        )
    group: dist.ProcessGroup = mesh.get_group()
    return group


@torch.no_grad()
def _copy_from_first(model: nn.Module, group: dist.ProcessGroup | None) -> None:
    from torch.distributed.tensor import DTensor

    for tensor in (*model.parameters(), *model.buffers()):
        if not isinstance(tensor, DTensor):
            dist.broadcast(tensor.detach(), group=group, group_src=0)


def _whole(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Torch's norm of sharded gradients, for each mesh by itself: a model may have parameters on several."""
    by_mesh: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_mesh.setdefault(getattr(parameter.grad, "device_mesh", None), []).append(parameter.grad)
    norms = [_whole(nn.utils.get_total_norm(gradients)) for gradients in by_mesh.values()]
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm()
