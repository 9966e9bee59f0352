"""Parameters laid end to end in one buffer that is cut into as many equal parts as there are ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import rank, world_size

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # the name before torch 2.13
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class FlatShard:
    """Some parameters as one row of numbers, of which this rank keeps one part: what an optimizer then steps.

    The row is filled up with zeros to a multiple of the number of ranks, so that all parts are as long; an optimizer
    that treats each number by itself leaves the zeros at zero, and they add nothing to a norm.

    Args:
        names: One for each parameter, to name it by.
        parameters: Those laid end to end, with the same values on every rank.
        group: The ranks that share them; all of them by default.
        keep_whole: Whether the whole row stays here. Then `shard` shares its memory, and the parameters lie in it.

    Raises:
        ValueError: If the parameters are of several dtypes or devices.
    """

    def __init__(
        self,
        names: Sequence[str],
        parameters: Sequence[nn.Parameter],
        group: dist.ProcessGroup | None = None,
        *,
        keep_whole: bool,
    ) -> None:
        if len({(parameter.dtype, parameter.device) for parameter in parameters}) > 1:
            raise ValueError(
                f"parameters that travel together must be of one dtype and device; {', '.join(names)} are not. "
                "Give them groups or units of their own."
            )
        self.names, self.parameters, self.group = list(names), list(parameters), group
        self.shapes = [parameter.shape for parameter in parameters]
        self.length = sum(parameter.numel() for parameter in parameters)
        self.part = math.ceil(self.length / world_size(group))
        whole = self.joined([parameter.detach() for parameter in parameters])
        self.whole = whole if keep_whole else None
        self.shard = nn.Parameter(self.mine(whole) if keep_whole else self.mine(whole).clone())
        if keep_whole:
            for parameter, view in zip(parameters, self.views(whole), strict=True):
                parameter.data = view
        else:
            self.parameters = []

    def joined(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """Return tensors of the parameters' shapes end to end, filled up; zeros stand for None."""
        example = next(tensor for tensor in tensors if tensor is not None)
        whole = example.new_zeros(self.part * world_size(self.group))
        for view, tensor in zip(self.views(whole), tensors, strict=True):
            if tensor is not None:
                view.copy_(tensor)
        return whole

    def views(self, whole: Tensor) -> list[Tensor]:
        """Return the row cut up again: one view for each parameter, in its shape."""
        rows = torch.split(whole[: self.length], [shape.numel() for shape in self.shapes])
        return [row.view(shape) for row, shape in zip(rows, self.shapes, strict=True)]

    def mine(self, whole: Tensor) -> Tensor:
        """Return this rank's part of the row, a view."""
        return whole.narrow(0, rank(self.group) * self.part, self.part)

    def gathered(self, part: Tensor) -> Tensor:
        """Return the whole row of which every rank gives its part (an all-gather)."""
        whole = part.new_empty(self.part * world_size(self.group))
        all_gather(whole, part.detach().contiguous(), group=self.group)
        return whole

    def reduced(self, whole: Tensor) -> Tensor:
        """Return this rank's part of the sum of all ranks' rows (a reduce-scatter)."""
        part = whole.new_empty(self.part)
        _reduce_scatter(part, whole.contiguous(), group=self.group)
        return part

    def as_dtensor(self, part: Tensor) -> DTensor:
        """Return ``part`` (the shard, or what an optimizer keeps for it) as torch's own sharded tensor.

        Its whole is the row without the zeros at its end, which depend on the number of ranks.
        """
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.tensor import DTensor, Shard

        group = self.group or dist.group.WORLD
        assert group is not None
        mesh = DeviceMesh.from_group(group, part.device.type)
        own = part.detach()[: max(0, min(self.part, self.length - rank(self.group) * self.part))]
        return DTensor.from_local(own, mesh, [Shard(0)], run_check=False, shape=torch.Size([self.length]), stride=(1,))

    def from_dtensor(self, sharded: DTensor) -> Tensor:
        """Return the part that `as_dtensor` made ``sharded`` of."""
        own = sharded.to_local()
        part = own.new_zeros(self.part)
        part[: len(own)] = own
        return part
