"""The keys and values of the tokens so far, so that a new token costs one token's work and not a whole text's."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.nn.transformer.config import TransformerConfig

# Shape letters used in this file: B = rows, T = new tokens, S = keys visible to them, G = heads of keys and values,
# E = width of a head.


class KVCache:
    """What a `Transformer` remembers between calls: give the same cache to each, with the tokens that are new.

    Memory is reserved at the first call and written in place: ``2 * layers * B * G * capacity * E`` numbers. With a
    sliding window of w tokens there are only ``2 w`` places: when they are full, the last ``w - 1`` move to the front.
    For use under ``torch.no_grad()``. All rows have the same number of tokens; pad shorter ones on the left. A call
    that fails or is interrupted does not count, and may be made again.

    Args:
        config: Of the model.
        capacity: Most tokens it shall hold. None: the model's context length.

    Raises:
        ValueError: If ``capacity`` is not within 1 and the context length; in use, if the tokens do not fit, if rows
            were added or removed, if model or encoder's output are others, and if gradients are asked for.

    Example:
        >>> from course_lib.nn.transformer import Transformer, gpt
        >>> model = Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> text = torch.tensor([[1, 5, 2, 7]])
        >>> cache = KVCache(model.config)
        >>> with torch.no_grad():
        ...     whole = model(text)
        ...     first, then = model(text[:, :3], cache=cache), model(text[:, 3:], cache=cache)
        >>> torch.allclose(torch.cat([first, then], dim=1), whole, atol=1e-6), cache.length
        (True, 4)
    """

    def __init__(self, config: TransformerConfig, *, capacity: int | None = None) -> None:
        self.config = config
        self.capacity = config.context_length if capacity is None else capacity
        if not 1 <= self.capacity <= config.context_length:
            raise ValueError(
                f"capacity must be within 1 and the context length {config.context_length}, got {capacity}."
            )
        self.length = 0
        self.mask: Tensor | None = None  # (B, length) once a mask was given: which of the tokens are real
        self.source: Tensor | None = None  # an encoder's output
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}  # its keys and values, by layer
        self._num_slots = self.capacity if config.window is None else min(self.capacity, 2 * config.window)
        self._most_kept = self.capacity if config.window is None else config.window - 1
        self._filled = 0
        self._slots: list[tuple[Tensor, Tensor] | None] = [None] * config.num_layers
        self._moved: dict[int, tuple[Tensor, Tensor]] = {}  # by layer: what `advance` puts to the front of its slots

    @property
    def num_visible(self) -> int:
        """How many earlier tokens the next one can see: all so far, or those in its window."""
        return min(self._filled, self._most_kept)

    @property
    def memory_bytes(self) -> int:
        """Bytes reserved for keys and values."""
        tensors = [tensor for pair in (*self._slots, *self.memory.values()) if pair is not None for tensor in pair]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values; return all that the new tokens may see.

        What is stored counts only after `advance`, which the model calls when all layers are done.

        Shape:
            - key, value: ``(B, T, G, E)``
            - outputs: ``(B, S, G, E)``, ``S = num_visible + T``
        """
        if key.requires_grad:
            raise ValueError("a cache is written in place and keeps no gradients: use it under torch.no_grad().")
        slots = self._slots[layer]
        if slots is None:
            shape = (len(key), self._num_slots, *key.shape[2:])
            slots = self._slots[layer] = (key.new_empty(shape), value.new_empty(shape))
        if len(key) != len(slots[0]):
            raise ValueError(f"the cache holds {len(slots[0])} rows, got {len(key)}: make a new one for each batch.")
        self._moved.pop(layer, None)  # of a call that was interrupted
        first, end = self._filled - self.num_visible, self._filled + key.shape[1]
        if end <= self._num_slots:
            for slot, new in zip(slots, (key, value), strict=True):
                slot[:, self._filled : end] = new
            return slots[0][:, first:end], slots[1][:, first:end]
        keys, values = (
            torch.cat([slot[:, first : self._filled], new], dim=1)
            for slot, new in zip(slots, (key, value), strict=True)
        )
        kept = end - first - self._most_kept  # full: the last that later tokens can see will move to the front
        self._moved[layer] = keys[:, kept:].clone(), values[:, kept:].clone()
        return keys, values

    def advance(self, num_tokens: int, mask: Tensor | None) -> None:
        """Count the tokens that all layers have stored; ``mask`` is that of all tokens so far, ``(B, length)``."""
        end = self._filled + num_tokens
        self._filled = end if end <= self._num_slots else self._most_kept
        for layer, moved in self._moved.items():
            for slot, kept in zip(self._slots[layer] or (), moved, strict=True):
                slot[:, : self._most_kept] = kept
        self._moved.clear()
        self.length += num_tokens
        self.mask = mask
