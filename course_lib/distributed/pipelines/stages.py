"""A transformer cut into stages, whose parameters keep the names they have in the whole model."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from course_lib.distributed.planning.layout import dealt_layers
from course_lib.nn.transformer import Transformer, attention_mask, rotary_tables


class TransformerStage(nn.Module):
    """Some blocks of a transformer: the first stage embeds tokens besides, the last one returns logits.

    Build the whole model with the same seed on every rank, keep one stage of it, and make the optimizer from the
    stage's parameters: they are those of ``model``, not copies. A tied embedding is part of the first stage and of the
    last.

    Args:
        model: The whole, of which this keeps only its share.
        stage: This one's number, from 0.
        num_stages: How many there are; blocks are dealt out as evenly as possible; where they do not divide, the
            last stage and the first get one less (`dealt_layers`).

    Shape:
        - input: ``(B, T)`` int64 tokens for the first stage, ``(B, T, D)`` for the others
        - output: ``(B, T, V)`` for the last stage, ``(B, T, D)`` for the others

    Raises:
        ValueError: If there is no such stage, there are fewer blocks than stages, or the model has cross-attention or
            no output layer.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=100, width=32, num_layers=3, num_heads=4, context_length=16)
        >>> model = Transformer(config)
        >>> first, last = (TransformerStage(model, stage, 2) for stage in (0, 1))
        >>> list(first.blocks), list(last.blocks)
        (['0', '1'], ['2'])
        >>> tokens = torch.tensor([[1, 2, 3]])
        >>> torch.equal(last(first(tokens)), model(tokens))
        True

    Reference: Huang et al. 2019, GPipe, section 2.2, https://arxiv.org/abs/1811.06965
    """

    def __init__(self, model: Transformer, stage: int, num_stages: int) -> None:
        super().__init__()
        if not 0 <= stage < num_stages:
            raise ValueError(f"stage must lie in 0 to num_stages - 1, got {stage} of {num_stages}.")
        if len(model.blocks) < num_stages:
            raise ValueError(f"{len(model.blocks)} blocks cannot be dealt out to {num_stages} stages: take fewer.")
        if model.source_width is not None or not model.has_head:
            raise ValueError("a pipeline needs a Transformer with an output layer and without cross-attention.")
        self.config = model.config
        self.is_first, self.is_last = stage == 0, stage == num_stages - 1
        layers = dealt_layers(len(model.blocks), num_stages)
        before = sum(layers[:stage])
        self.blocks = nn.ModuleDict({str(n): model.blocks[n] for n in range(before, before + layers[stage])})
        if self.is_first:
            self.positions, self.embedding_norm, self.dropout = model.positions, model.embedding_norm, model.dropout
        if self.is_last:
            self.norm, self.head = model.norm, model.head
        if self.is_first or (self.is_last and model.head is None):
            self.embedding = model.embedding

    @property
    def tied(self) -> nn.Parameter | None:
        """The parameter that the first and the last stage both hold, if this is one of two such stages."""
        both = self.config.tied and self.is_first != self.is_last
        return cast(nn.Parameter, self.embedding.weight) if both else None

    def forward(self, x: Tensor) -> Tensor:
        """Carry on from the stage before."""
        if x.shape[1] > self.config.context_length:
            raise ValueError(f"{x.shape[1]} tokens do not fit into the context length {self.config.context_length}.")
        places = torch.arange(x.shape[1], device=x.device)
        h = Transformer.embed(self, x, places) if self.is_first else x  # type: ignore[arg-type]
        rotary = rotary_tables(places, self.config, dtype=h.dtype) if self.config.positions == "rotary" else None
        mask, is_causal = attention_mask(
            x.shape[1], x.shape[1], causal=self.config.causal, window=self.config.window, device=x.device
        )
        for block in self.blocks.values():
            h = block(h, rotary=rotary, mask=mask, is_causal=is_causal)
        if not self.is_last:
            return h
        h = h if self.norm is None else self.norm(h)
        logits: Tensor = nn.functional.linear(h, self.embedding.weight) if self.head is None else self.head(h)
        return logits
