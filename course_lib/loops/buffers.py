"""Putting a model's buffers back when a step turns out not to have been made."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SavedBuffers:
    """A copy of every buffer of ``parts`` that are modules (batch norm's running statistics, a codebook's averages).

    A forward pass may write into a buffer or put another tensor in its place; both are undone.

    Example:
        >>> model = nn.BatchNorm1d(1)
        >>> saved = SavedBuffers(model)
        >>> _ = model(torch.tensor([[1.0], [3.0]]))
        >>> saved.restore()
        >>> model.running_mean
        tensor([0.])
    """

    def __init__(self, *parts: object) -> None:
        self._slots = [
            (module._buffers, name, buffer, None if buffer is None else buffer.clone())
            for part in parts
            if isinstance(part, nn.Module)
            for module in part.modules()
            for name, buffer in module._buffers.items()
        ]

    @torch.no_grad()
    def restore(self, skipped: Tensor | None = None) -> None:
        """Give every buffer the value it had; with ``skipped``, only if that truth value on the device is true."""
        for owner, name, buffer, value in self._slots:
            now = owner[name]
            if skipped is not None and now is not None and value is not None and _alike(now, value):
                chosen = torch.where(skipped, value, now)  # decided on the device: nothing waits here
                owner[name] = now.copy_(chosen) if now is buffer else chosen
            elif skipped is None or bool(skipped):
                owner[name] = buffer
                if buffer is not None and value is not None:
                    buffer.copy_(value)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
