"""The module behind what `torch.compile` returned, whose names do not carry the compiler's prefix."""

from __future__ import annotations

from torch import nn


def original(module: nn.Module) -> nn.Module:
    """Return the module that ``module`` is a compiled form of, or itself; both share their weights.

    So a run may be saved compiled and resumed as it is, or the other way round.

    Example:
        >>> import torch
        >>> plain = nn.Linear(1, 1)
        >>> original(torch.compile(plain)) is original(plain) is plain
        True
    """
    inner = getattr(module, "_orig_mod", module)
    assert isinstance(inner, nn.Module)
    return inner
