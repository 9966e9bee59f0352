"""Which keys each query may see: the simplest form that says it, so that attention keeps its fast path."""

from __future__ import annotations

import torch
from torch import Tensor

# Shape letters used in this file: B = rows, T = queries, S = keys.


def attention_mask(
    num_queries: int,
    num_keys: int,
    *,
    causal: bool,
    window: int | None = None,
    real: Tensor | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor | None, bool]:
    """Return ``attn_mask`` and ``is_causal`` for ``torch.nn.functional.scaled_dot_product_attention``.

    The queries are the last of the keys' places: with a cache there are more keys than queries. A query always sees
    itself, also where it is padding; otherwise its softmax would have nothing to share out and give nan.

    Args:
        num_queries: T.
        num_keys: S, at least T.
        causal: Whether a query sees only its own place and those before.
        window: How many places it sees, its own included (without ``causal``: as many to either side).
        real: Which keys are tokens and not padding.
        device: Of the mask.

    Shape:
        - real: ``(B, S)``, bool
        - output: ``(T, S)``, ``(B, 1, T, S)`` with ``real``, bool (True: sees), or None where all is visible or
          ``is_causal`` says all

    Example:
        >>> attention_mask(3, 3, causal=True)
        (None, True)
        >>> attention_mask(1, 3, causal=True)  # one new token after two in the cache
        (None, False)
        >>> attention_mask(3, 3, causal=True, window=2)[0].int().tolist()
        [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    causal = causal and num_queries > 1
    if window is not None and window >= num_keys:
        window = None
    if real is None and window is None and (not causal or num_queries == num_keys):
        return None, causal
    keys = torch.arange(num_keys, device=device)
    ahead = keys - keys[num_keys - num_queries :, None]  # (T, S): how far a key lies after a query
    visible = ahead <= 0 if causal else torch.ones_like(ahead, dtype=torch.bool)
    if window is not None:
        visible &= ahead.abs() < window
    if real is not None:
        visible = (visible & real[:, None, None, :]) | (ahead == 0)
    return visible, False
