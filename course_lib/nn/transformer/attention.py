"""Attention: each token asks a question, and gets the average of the values whose keys answer it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.transformer.cache import KVCache
from course_lib.nn.transformer.config import TransformerConfig
from course_lib.nn.transformer.functional import softmax_attention
from course_lib.nn.transformer.positions import rotate

# Shape letters used in this file: B = rows, T = queries, S = keys, H = heads, G = heads of keys and values,
# D = width, E = width of a head.


class Attention(nn.Module):
    """``output(softmax(Q K^T / sqrt(E)) V)``, a number of heads side by side.

    Self-attention takes keys and values from where the queries come from, cross-attention from a source. With fewer
    heads for keys and values each of them serves ``H / G`` neighbouring query heads. Heads are split by their width, so
    a module whose ``query``, ``key``, ``value`` and ``output`` hold only some of the heads (tensor parallelism) works.

    Args:
        config: Of the model.
        layer: Number of the block: where keys and values are found in a cache.
        source_width: Width of the source, for cross-attention.

    Shape:
        - x, output: ``(B, T, D)``
        - source: ``(B, S, source_width)``
        - rotary: two of ``(T, 1, E)`` or ``(B, T, 1, E)``, see `rotary_tables`
        - mask: broadcasts to ``(B, H, T, S)``, bool, True where a query sees a key

    Reference: Vaswani et al. 2017, Attention is all you need, section 3.2, https://arxiv.org/abs/1706.03762; fewer
    heads: Ainslie et al. 2023, GQA, https://arxiv.org/abs/2305.13245; norms of queries and keys: Dehghani et al. 2023,
    Scaling vision transformers to 22 billion parameters, section 2, https://arxiv.org/abs/2302.05442
    """

    def __init__(self, config: TransformerConfig, *, layer: int = 0, source_width: int | None = None) -> None:
        super().__init__()
        width, self.head_width = config.width, config.head_width
        kv_width = config.kv_heads * self.head_width
        self.widths = [width, kv_width, kv_width]
        self.query_key_value: nn.Linear | None = None
        if config.fused_projections and source_width is None:
            self.query_key_value = nn.Linear(width, sum(self.widths), bias=config.bias)
        else:
            num_in = width if source_width is None else source_width
            self.query = nn.Linear(width, width, bias=config.bias)
            self.key = nn.Linear(num_in, kv_width, bias=config.bias)
            self.value = nn.Linear(num_in, kv_width, bias=config.bias)
        self.output = nn.Linear(width, width, bias=config.bias)
        self.query_norm = nn.RMSNorm(self.head_width, eps=config.norm_eps) if config.qk_norm else None
        self.key_norm = nn.RMSNorm(self.head_width, eps=config.norm_eps) if config.qk_norm else None
        self.dropout = config.dropout
        self.layer = layer

    def forward(
        self,
        x: Tensor,
        *,
        source: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Let the tokens of ``x`` look at each other, or at the source."""
        query, key, value = self.heads(x, source=source, rotary=rotary, cache=cache)
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=is_causal,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out

    def heads(
        self,
        x: Tensor,
        *,
        source: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries ``(B, H, T, E)``, keys and values ``(B, G, S, E)``, those in the cache included."""
        if source is not None:
            query = self.query(x)
            key, value = self._of_source(source, cache)
        else:
            if self.query_key_value is None:
                query, key, value = self.query(x), self.key(x), self.value(x)
            else:
                query, key, value = self.query_key_value(x).split(self.widths, dim=-1)
            key = _split(key, self.head_width, self.key_norm, rotary)
            value = _split(value, self.head_width)
            if cache is not None:
                key, value = cache.append(self.layer, key, value)
        query = _split(query, self.head_width, self.query_norm, rotary)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def _of_source(self, source: Tensor, cache: KVCache | None) -> tuple[Tensor, Tensor]:
        """Return keys and values of the source, ``(B, S, G, E)``, made once if there is a cache."""
        if cache is not None and self.layer in cache.memory:
            if source is not cache.source:
                raise ValueError(
                    "the cache holds keys of another memory: make a new one for each, and keep the tensor."
                )
            return cache.memory[self.layer]
        key = _split(self.key(source), self.head_width, self.key_norm)
        value = _split(self.value(source), self.head_width)
        if cache is not None:
            cache.source, cache.memory[self.layer] = source, (key, value)
        return key, value

    @torch.no_grad()
    def weights(
        self,
        x: Tensor,
        *,
        source: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return how much each query takes from each key, ``(B, H, T, S)``: for figures, since it is slow."""
        if cache is not None:
            raise ValueError("attention weights are computed without a cache: give the whole text at once.")
        query, key, value = self.heads(x, source=source, rotary=rotary)
        if is_causal:
            mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=x.device).tril()
        return softmax_attention(query, key, value, mask=mask)[1]


def _split(
    x: Tensor, head_width: int, norm: nn.RMSNorm | None = None, rotary: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    heads = x.view(*x.shape[:-1], x.shape[-1] // head_width, head_width)
    if norm is not None:
        heads = norm(heads.to(norm.weight.dtype)).to(heads.dtype)  # under autocast they differ
    return heads if rotary is None else rotate(heads, *rotary)
