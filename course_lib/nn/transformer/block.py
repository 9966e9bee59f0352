"""One block of a transformer: attention, then a feed-forward layer, each added to the residual stream."""

from __future__ import annotations

from torch import Tensor, nn

from course_lib.nn.transformer.attention import Attention
from course_lib.nn.transformer.cache import KVCache
from course_lib.nn.transformer.config import TransformerConfig
from course_lib.nn.transformer.feed_forward import FeedForward

# Shape letters used in this file: B = rows, T = tokens, S = tokens of the source, D = width.


class Block(nn.Module):
    """``h + attention(norm(h))``, then ``h + feed_forward(norm(h))``; in a decoder with a source, a look at it between.

    With ``norm_position="post"`` it is ``norm(h + layer(h))`` instead.

    Args:
        config: Of the model.
        layer: Number of the block, from 0.
        source_width: Width of what cross-attention looks at. None: no cross-attention.

    Shape:
        - h, output: ``(B, T, D)``
        - source: ``(B, S, source_width)``
        - rotary, mask, is_causal: see `Attention`; source_mask the same for the source

    Reference: Vaswani et al. 2017, Attention is all you need, section 3.1, https://arxiv.org/abs/1706.03762; norms
    first: Xiong et al. 2020, On layer normalization in the transformer architecture, https://arxiv.org/abs/2002.04745
    """

    def __init__(self, config: TransformerConfig, *, layer: int = 0, source_width: int | None = None) -> None:
        super().__init__()
        self.post_norm = config.norm_position == "post"
        self.attention_norm = make_norm(config)
        self.attention = Attention(config, layer=layer)
        if source_width is not None:
            self.cross_attention_norm = make_norm(config)
            self.cross_attention = Attention(config, layer=layer, source_width=source_width)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        h: Tensor,
        *,
        rotary: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
        source: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the residual stream after this block."""
        look = {"rotary": rotary, "mask": mask, "is_causal": is_causal, "cache": cache}
        h = self._add(h, self.attention_norm, self.attention, **look)
        if source is not None:
            look = {"source": source, "mask": source_mask, "cache": cache}
            h = self._add(h, self.cross_attention_norm, self.cross_attention, **look)
        return self._add(h, self.feed_forward_norm, self.feed_forward)

    def _add(self, h: Tensor, norm: nn.Module, layer: nn.Module, **options: object) -> Tensor:
        if self.post_norm:
            out: Tensor = norm(h + self.dropout(layer(h, **options)))
        else:
            out = h + self.dropout(layer(norm(h), **options))
        return out


def make_norm(config: TransformerConfig) -> nn.Module:
    """Return torch's own layer norm or RMS norm over the model's width."""
    if config.norm == "rms":
        return nn.RMSNorm(config.width, eps=config.norm_eps)
    return nn.LayerNorm(config.width, eps=config.norm_eps, bias=config.bias)
