"""How the tensors of a run are cut up over ranks: made into what torch's checkpoints take, and back."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.distributed.engines.flat_shard import FlatShard
from course_lib.distributed.engines.zero import Zero
from course_lib.distributed.pipelines.pipeline import Pipeline
from course_lib.distributed.pipelines.torch_pipeline import TorchPipeline
from course_lib.distributed.tensor_parallel.engine import TensorParallel
from course_lib.distributed.tensor_parallel.regions import part
from course_lib.loops import Run


class Cut:
    """The cut of one run. What an optimizer keeps for a parameter is cut as the parameter is.

    Args:
        run: Its ``gradients`` say how.

    Attributes:
        in_stages: Whether each rank has only some of the layers.
    """

    def __init__(self, run: Run) -> None:
        engine: Any = run.gradients
        self.in_stages = isinstance(engine, Pipeline | TorchPipeline)
        within = engine.within if isinstance(engine, Pipeline) else engine
        self._flats: dict[int, FlatShard] = within.flats if isinstance(within, Zero) else {}
        self._parts = within if isinstance(within, TensorParallel) and world_size(within.group) > 1 else None

    def shared(self, tensor: Any, parameter: nn.Parameter | None) -> Tensor | None:
        """Return ``tensor``, a parameter or what is kept for it, as what it is over all ranks.

        That is torch's sharded tensor, or a plain one that other ranks may lack; None for what each rank has.
        """
        from torch.distributed.tensor import DTensor, Shard

        if not isinstance(tensor, Tensor) or isinstance(tensor, DTensor):
            return tensor if isinstance(tensor, DTensor) else None
        if parameter is not None and tensor.shape == parameter.shape:
            if (flat := self._flats.get(id(parameter))) is not None:
                return flat.as_dtensor(tensor)
            if (dim := self._split_dim(parameter)) is not None:
                return DTensor.from_local(tensor.detach(), self._mesh(tensor), [Shard(dim)], run_check=False)
        return tensor.detach() if self.in_stages else None

    def own(self, shared: Tensor, parameter: nn.Parameter | None) -> Tensor:
        """Return this rank's form of what `shared` gives."""
        from torch.distributed.tensor import DTensor

        if not isinstance(shared, DTensor) or isinstance(parameter, DTensor):
            return shared
        flat = self._flats.get(id(parameter))
        return shared.to_local() if flat is None else flat.from_dtensor(shared)

    def part(self, whole: Tensor, parameter: nn.Parameter | None) -> Tensor:
        """Return this rank's form of a ``whole`` tensor that every rank has."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if isinstance(parameter, DTensor) and not isinstance(whole, DTensor) and whole.shape == parameter.shape:
            mesh = parameter.device_mesh
            return distribute_tensor(whole.to(mesh.device_type), mesh, parameter.placements, src_data_rank=None)
        dim = None if parameter is None or whole.ndim == 0 else self._split_dim(parameter)
        if dim is None or self._parts is None or whole.shape == parameter.shape:  # type: ignore[union-attr]
            return whole
        return part(whole, self._parts.group, dim)

    def _split_dim(self, parameter: nn.Parameter) -> int | None:
        """The dimension along which this rank has a part, in a plain tensor."""
        from torch.distributed.tensor import DTensor

        plain = self._parts is not None and not isinstance(parameter, DTensor)
        return self._parts.split_dims.get(id(parameter)) if plain and self._parts is not None else None

    def _mesh(self, tensor: Tensor) -> Any:
        from torch.distributed.device_mesh import DeviceMesh

        assert self._parts is not None
        return DeviceMesh.from_group(self._parts.group, tensor.device.type)
