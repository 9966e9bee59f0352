"""Evaluation mode for a while: dropout off, batch norms frozen, and every module's own mode back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(*models: nn.Module) -> Iterator[None]:
    """Put ``models`` into evaluation mode, and give each of their modules back the mode it had, whatever happens.

    ``model.train()`` afterwards would not do: a batch norm that was frozen in a training model would wake up.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3).eval())
        >>> with evaluation_mode(model):
        ...     [part.training for part in model.modules()]
        [False, False, False]
        >>> [part.training for part in model.modules()]
        [True, True, False]
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
