"""A model split over ranks, by hand or by DTensor, as a run's ``gradients``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib.collectives import all_sum, world_size
from course_lib.distributed.engines.norms import norm_over_shards
from course_lib.distributed.same_rows import SameRows
from course_lib.distributed.same_start import same_start
from course_lib.distributed.tensor_parallel.regions import gathered
from course_lib.loops import Loss, Objective, OverRanks, Run, backprop
from course_lib.loops.compiled import original
from course_lib.loops.loss import Batch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class TensorParallel:
    """Ranks that share each layer compute the same loss, each with its part of the weights.

    The collectives are in the model. What is left to say to a `Run` is over which ranks numbers add up (over copies of
    the model, not over the ranks that share one), and how long a gradient is of which each rank has a part.

    All ranks that share the model must see the same rows: ``Batches(..., rank=rank(dp), world_size=world_size(dp))``
    with ``dp = mesh["dp"].get_group()``. They must draw the same random numbers, too, if any. An evaluation is not
    checked for that: give `evaluate` batches that are split in the same way, which it then adds up over all ranks.

    Args:
        model: Split already, by `split_transformer`, `parallelize_transformer`, or layers of this package.
        mesh: From `device_mesh`; "tp" are the ranks that share the model, "dp" its copies.

    Attributes:
        group: The ranks that share the model.
        split_dims: Along which dimension each parameter is split, by its ``id``; those missing are whole on every rank.

    Raises:
        ValueError: If copies of the model differ; if there are copies of a model of DTensors (take `FullySharded`);
            when the run is built, if it trains another model, or averages the weights of a model of DTensors (EMA); in
            a step, on all ranks alike, if ranks that share the model see different rows or, in the first step, compute
            different losses.

    Example:
        >>> import tempfile
        >>> import torch
        >>> import torch.distributed as dist
        >>> from course_lib.distributed.meshes import device_mesh
        >>> from course_lib.distributed.tensor_parallel import ColumnParallelLinear
        >>> from course_lib.loops import regression
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     dist.init_process_group("gloo", store=dist.FileStore(file.name, 1), rank=0, world_size=1)
        ...     model = ColumnParallelLinear(nn.Linear(3, 2), gather_output=True)
        ...     engine = TensorParallel(model, device_mesh())
        ...     run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), gradients=engine)
        ...     step = run.step((torch.ones(4, 3), torch.ones(4, 2)))
        ...     dist.destroy_process_group()
        >>> step.index
        1

    Reference: Shoeybi et al. 2019, Megatron-LM, https://arxiv.org/abs/1909.08053
    """

    def __init__(self, model: nn.Module, mesh: DeviceMesh) -> None:
        from torch.distributed.tensor import DTensor

        self._model = original(model)
        self.group = mesh["tp"].get_group()
        copies = mesh["dp"].get_group()
        self._is_dtensor = any(isinstance(parameter, DTensor) for parameter in self._model.parameters())
        if self._is_dtensor and world_size(copies) > 1:
            raise ValueError(
                "gradients of DTensors are not added up over copies of the model here: take FullySharded(model, "
                'mesh=mesh["dp"]).'
            )
        if not self._is_dtensor:
            same_start(self._model, copies)
        self.split_dims = _split_dims(self._model)
        device = next((parameter.device for parameter in self._model.parameters()), torch.device("cpu"))
        self._same = SameRows([self.group], device)
        self.over_ranks = OverRanks(group=copies, norm=self._norm, check=self._check)

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave this rank's part of the gradient of the sum in ``.grad``; return the losses, alike on sharing ranks."""
        self._same.check(micro_batches)
        losses = backprop(model, objective, micro_batches)
        self._same.check_losses(losses)
        if self._is_dtensor:
            for parameter in self._model.parameters():
                if parameter.grad is not None:  # parts of a sum, where each rank used a whole parameter for its rows
                    parameter.grad = parameter.grad.redistribute(placements=parameter.placements)  # type: ignore
        return losses

    def whole_parameters(self) -> dict[str, Tensor]:
        """Return all parameters as plain tensors, by their names; every rank must call this."""
        return {name: self._whole(parameter, parameter.detach()) for name, parameter in self._model.named_parameters()}

    def whole_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that the last update used, by the names of parameters; every rank must call this."""
        named = self._model.named_parameters()
        return {name: self._whole(parameter, parameter.grad) for name, parameter in named if parameter.grad is not None}

    def _whole(self, parameter: nn.Parameter, tensor: Any) -> Tensor:
        if self._is_dtensor:
            whole: Tensor = tensor.full_tensor()
            return whole
        dim = self.split_dims.get(id(parameter))
        return tensor if dim is None or world_size(self.group) == 1 else gathered(tensor, self.group, dim)

    def _norm(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        parts: list[Tensor] = []
        alike: list[Tensor] = []
        for parameter in parameters:
            gradient: Any = parameter.grad
            if gradient is not None:
                local = gradient.to_local() if self._is_dtensor else gradient
                (alike if self.split_dims.get(id(parameter)) is None else parts).append(local)
        norm = norm_over_shards({self.group: parts, None: alike})
        all_sum([norm], self.group)  # equal but for what went wrong on one rank alone, which all must hear of
        return norm / world_size(self.group)

    def _check(self, run: Run) -> None:
        if original(run.model) is not self._model:
            raise ValueError("the run must train the model that TensorParallel was built with.")
        if self._is_dtensor and run.ema is not None:
            raise ValueError("an EMA cannot average DTensors: split by hand (split_transformer), or train without one.")


def _split_dims(model: nn.Module) -> dict[int, int]:
    """Along which dimension each parameter is split, by its id; those missing are whole on every rank."""
    from torch.distributed.tensor import DTensor, Shard

    dims: dict[int, int] = {}
    for module in model.modules():
        by_hand: dict[str, int] = getattr(module, "split_dims", {})
        for name, parameter in module.named_parameters(recurse=False):
            if name in by_hand:
                dims[id(parameter)] = by_hand[name]
            elif isinstance(parameter, DTensor) and isinstance(parameter.placements[0], Shard):
                dims[id(parameter)] = parameter.placements[0].dim
    return dims
