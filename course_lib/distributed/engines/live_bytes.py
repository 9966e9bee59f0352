"""How much memory a rank's part of a run takes, measured: the storages behind its tensors, each counted once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from course_lib.loops import Run


def live_bytes(run: Run) -> dict[str, int]:
    """Return the bytes on this rank of ``parameters``, ``gradients``, ``optimizer`` state and ``ema``.

    What counts is memory that is really held: a view costs nothing, a sharded tensor what lies here. Between two
    updates gradients are those of the last one. Activations, and what an engine gathers for a moment, are not there
    then.

    Args:
        run: On any engine, or on none.

    Example:
        >>> import torch
        >>> from course_lib.loops import regression
        >>> model = torch.nn.Linear(9, 1)
        >>> run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        >>> _ = run.step((torch.ones(4, 9), torch.ones(4, 1)))
        >>> live_bytes(run)
        {'parameters': 40, 'gradients': 40, 'optimizer': 40, 'ema': 0}
    """
    stepped = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    parameters = [*run.model.parameters(), *stepped]
    kinds: dict[str, Iterable[Any]] = {
        "parameters": parameters,
        "gradients": [parameter.grad for parameter in parameters],
        "optimizer": [value for state in run.optimizer.state.values() for value in state.values()],
        "ema": [] if run.ema is None else run.ema.model.parameters(),
    }
    seen: set[int] = set()
    return {kind: _bytes(tensors, seen) for kind, tensors in kinds.items()}


def _bytes(values: Iterable[Any], seen: set[int]) -> int:
    total = 0
    for value in values:
        if isinstance(value, Tensor):
            local = getattr(value, "_local_tensor", value)  # of a DTensor: the part that lies here
            storage = local.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                total += storage.nbytes()
    return total
