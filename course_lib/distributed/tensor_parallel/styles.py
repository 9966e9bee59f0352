"""What torch's parallel styles lack: a module that every rank has whole. Import it late: it imports DTensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, distribute_module
from torch.distributed.tensor.parallel import ParallelStyle


class Whole(ParallelStyle):
    """All ranks have all parameters of the module, as DTensors like those of its neighbours.

    Args:
        inputs: How the first input is laid out over ranks; what comes as a plain tensor is taken to be so.
        outputs: How the output is to be laid out.
        use_local_output: Whether to return this rank's part as a plain tensor.
    """

    def __init__(self, inputs: Placement, outputs: Placement, *, use_local_output: bool = True) -> None:
        super().__init__()
        self._inputs, self._outputs, self._local = (inputs,), (outputs,), use_local_output

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        enter: Any = self._input
        leave: Any = self._output
        return distribute_module(module, device_mesh, None, enter, leave)

    def _input(self, module: nn.Module, inputs: Any, mesh: DeviceMesh) -> tuple[Any, ...]:
        x = inputs[0]
        if not isinstance(x, DTensor):
            x = DTensor.from_local(x, mesh, self._inputs, run_check=False)
        return (x, *inputs[1:])

    def _output(self, module: nn.Module, output: Any, mesh: DeviceMesh) -> Tensor:
        out: Any = output.redistribute(placements=self._outputs)
        local: Tensor = out.to_local() if self._local else out
        return local
