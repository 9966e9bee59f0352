"""Whether all ranks have built the same model: asked once, so that a difference is named instead of hanging later."""

from __future__ import annotations

import json

import torch
import torch.distributed as dist
from torch import nn

from course_lib.collectives import initialized
from course_lib.loops.checkpoints.between_ranks import gather_bytes

Described = list[tuple[str, str]]


def check_same_model(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Compare names, shapes, dtypes and ``requires_grad`` of all parameters among the ranks of ``group``.

    Collectives match tensors by their order alone. Ranks with other models would add up what does not belong together,
    or wait for each other until a time-out. One small message before the first step tells.

    Args:
        model: This rank's.
        group: The ranks that must agree; all of them by default.

    Raises:
        ValueError: On every rank alike, naming the first difference; or if there is no process group at all.
    """
    if not initialized():
        raise ValueError(
            "there is no process group: start the workers with course_lib.distributed.launch or torchrun, and call "
            "torch.distributed.init_process_group first."
        )
    mine: Described = [
        (name, f"{list(p.shape)} {p.dtype}{'' if p.requires_grad else ' frozen'}")
        for name, p in model.named_parameters()
    ]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    all_models = [json.loads(text) for text in gather_bytes(json.dumps(mine).encode(), device, group)]
    for place, theirs in enumerate(all_models):
        if theirs != all_models[0]:
            raise ValueError(
                f"the ranks have built different models: {_difference(place, theirs, all_models[0])}. Build the same "
                "one on every rank."
            )


def _difference(place: int, theirs: Described, first: Described) -> str:
    here, there = dict(theirs), dict(first)
    for name in [*there, *here]:
        if here.get(name) != there.get(name):
            return f"{name} is {there.get(name, 'missing')} on rank 0 and {here.get(name, 'missing')} on rank {place}"
    return f"rank {place} has its parameters in another order than rank 0"
