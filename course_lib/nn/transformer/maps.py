"""What every head looks at, for figures: the attention weights that the fast path never writes down."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.nn.transformer.attention import Attention


@torch.no_grad()
def attention_maps(model: nn.Module, *inputs: Any, **options: Any) -> dict[str, Tensor]:
    """Call ``model(*inputs, **options)`` and return the weights of each of its `Attention` modules.

    Args:
        model: A `Transformer`, an `EncoderDecoder`, or anything that contains one.
        inputs: Its arguments.
        options: Its arguments by name; no cache.

    Returns:
        For each module, by name ("blocks.0.attention"), ``(B, H, T, S)``: row i of the last two axes says how much
        query i takes from each key; it sums to 1.

    Raises:
        ValueError: If the model has no attention.

    Example:
        >>> from course_lib.nn.transformer import Transformer, gpt
        >>> model = Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> maps = attention_maps(model, torch.tensor([[1, 2, 3]]))
        >>> {name: tuple(weights.shape) for name, weights in maps.items()}
        {'blocks.0.attention': (1, 2, 3, 3)}
    """
    found: dict[str, Tensor] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Attention)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no attention to look at.")
    hooks = [
        layer.register_forward_pre_hook(partial(_record, found, name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        model(*inputs, **options)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _record(found: dict[str, Tensor], name: str, layer: nn.Module, args: Any, kwargs: Any) -> None:
    assert isinstance(layer, Attention)
    found[name] = layer.weights(*args, **kwargs)
