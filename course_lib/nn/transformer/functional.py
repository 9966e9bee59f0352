"""Attention as a function of queries, keys and values: as the formula says it, and tile by tile."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Shape letters used in this file: B = rows, H = heads, G = heads of keys and values, T = queries, S = keys,
# E = width of a head.


def softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return ``softmax(Q K^T / sqrt(E)) V`` and the softmax itself, all weights in memory at once.

    Args:
        query: What each place asks.
        key: What each place offers.
        value: What it hands over.
        mask: True where a query sees a key (the polarity of torch's function, not of its ``nn.MultiheadAttention``).

    Shape:
        - query: ``(B, H, T, E)``; key, value: ``(B, G, S, E)`` with G a divisor of H
        - mask: broadcasts to ``(B, H, T, S)``, bool
        - outputs: ``(B, H, T, E)`` and ``(B, H, T, S)``, whose rows sum to 1

    Example:
        >>> q = torch.zeros(1, 1, 1, 2)  # indifferent: the average of the values
        >>> softmax_attention(q, q.expand(1, 1, 2, 2), torch.tensor([[[[0.0, 2.0], [4.0, 2.0]]]]))[0].tolist()
        [[[[2.0, 2.0]]]]

    Reference: Vaswani et al. 2017, Attention is all you need, eq. 1, https://arxiv.org/abs/1706.03762
    """
    _check(query, key, value)
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    weights = logits.softmax(dim=-1)
    return weights @ value, weights


def tiled_attention(query: Tensor, key: Tensor, value: Tensor, *, tile: int = 64, causal: bool = False) -> Tensor:
    """Return the output of softmax attention without ever holding more than ``tile x tile`` of its weights.

    The keys come in tiles. Three running results are kept for each query: the largest logit so far, the sum of
    ``exp(logit - largest)``, and the sum of values with these weights. When a new tile raises the largest logit, both
    sums are scaled down by the same factor, so at the end their ratio is the softmax average: the idea of
    FlashAttention, which does it in a chip's fast memory, one tile after the other.

    Args:
        query: What each place asks.
        key: What each place offers.
        value: What it hands over.
        tile: Queries and keys in a tile.
        causal: Whether query i sees keys up to i only (needs as many queries as keys); tiles in the future are skipped.

    Shape:
        - query, output: ``(B, H, T, E)``; key, value: ``(B, G, S, E)`` with G a divisor of H

    Raises:
        ValueError: If the shapes do not fit together, or ``tile`` is less than 1.

    Example:
        >>> x = torch.randn(1, 2, 100, 8, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(tiled_attention(x, x, x, tile=16), softmax_attention(x, x, x)[0], atol=1e-6)
        True

    Reference: Dao, Fu, Ermon, Rudra and Re 2022, FlashAttention, algorithm 1, https://arxiv.org/abs/2205.14135; the
    running softmax: Milakov and Gimelshein 2018, Online normalizer calculation for softmax, algorithm 3,
    https://arxiv.org/abs/1805.02867
    """
    _check(query, key, value)
    if tile < 1:
        raise ValueError(f"tile must be at least 1, got {tile}.")
    if causal and query.shape[2] != key.shape[2]:
        raise ValueError(f"causal needs as many queries as keys, got {query.shape[2]} and {key.shape[2]}.")
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    outputs = []
    for top in range(0, query.shape[2], tile):
        rows = query[:, :, top : top + tile] / math.sqrt(query.shape[-1])
        largest = rows.new_full((*rows.shape[:3], 1), -math.inf)
        total = torch.zeros_like(largest)
        weighted = torch.zeros_like(rows)
        for left in range(0, top + 1 if causal else key.shape[2], tile):
            logits = rows @ key[:, :, left : left + tile].transpose(-1, -2)
            if causal and left == top:
                logits = logits.masked_fill(torch.ones_like(logits[0, 0], dtype=torch.bool).triu(1), -math.inf)
            new_largest = torch.maximum(largest, logits.amax(dim=-1, keepdim=True))
            weights = torch.exp(logits - new_largest)
            shrink = torch.exp(largest - new_largest)
            total = total * shrink + weights.sum(dim=-1, keepdim=True)
            weighted = weighted * shrink + weights @ value[:, :, left : left + tile]
            largest = new_largest
        outputs.append(weighted / total)
    return torch.cat(outputs, dim=2)


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    fits = query.ndim == key.ndim == 4 and key.shape == value.shape
    if not fits or query.shape[0] != key.shape[0] or query.shape[3] != key.shape[3] or query.shape[1] % key.shape[1]:
        raise ValueError(
            "attention needs queries (B, H, T, E), and keys and values (B, G, S, E) with G a divisor of H, got "
            f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}."
        )
