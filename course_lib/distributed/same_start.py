"""The same weights on ranks that hold copies of one model."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from course_lib.collectives import world_size
from course_lib.distributed.engines.same_model import check_same_model


@torch.no_grad()
def same_start(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Overwrite parameters and buffers by those of the first rank of ``group``; every member calls this.

    Raises:
        ValueError: On every rank alike, if they have built different models.
    """
    check_same_model(model, group)
    if world_size(group) > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), group=group, group_src=0)
