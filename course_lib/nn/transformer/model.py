"""A transformer: embeddings, a stack of blocks, an output layer; decoder or encoder by its configuration."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.initialisers import he_normal_
from course_lib.nn.transformer.block import Block, make_norm
from course_lib.nn.transformer.cache import KVCache
from course_lib.nn.transformer.config import TransformerConfig
from course_lib.nn.transformer.masks import attention_mask
from course_lib.nn.transformer.positions import rotary_tables, sinusoidal_positions

# Shape letters used in this file: B = rows, T = tokens, S = tokens of the source, D = width, V = vocabulary.

STARTING_STD = 0.02  # of weights, as in GPT-2 and BERT


class Transformer(nn.Module):
    """Tokens to the logits of the next token (``causal``), or of the token at each place (not ``causal``).

    Its parts have plain names, by which adapters and parallel plans find them: ``embedding``, ``positions``,
    ``blocks.0.attention_norm``, ``.attention.query``, ``.key``, ``.value``, ``.output``, ``.feed_forward_norm``,
    ``.feed_forward.up``, ``.gate``, ``.down``, ``norm``, ``head`` (None if tied). It has no buffers: what does not
    learn is computed from the configuration when it is needed. So the state dict is the parameters, and weights
    trained without ``rope_scaling`` fit a model with it.

    All weights start from a normal distribution of standard deviation 0.02, divided by the square root of the number of
    layers that add to the residual stream for the matrices that do so (GPT-2's rule: the stream's variance then does
    not grow with depth); biases start at 0, norms at 1.

    Args:
        config: What kind of transformer.
        head: Whether there is an output layer. Without one, `forward` returns hidden states.
        source_width: Width of an encoder's output that the blocks look at by cross-attention. None: none.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - tokens: ``(B, T)``, int64 in ``[0, V)``, with ``1 <= T <= context_length``
        - mask: ``(B, T)``, bool, **True for a token**, False for padding, which nobody looks at and which does not
          count in positions. Padding on the right of a causal model needs none: nobody looks to the right.
        - memory: ``(B, S, source_width)``; memory_mask: ``(B, S)``, bool, at least one True in each row
        - output: ``(B, T, V)``; what stands at padding is of no use

    Raises:
        ValueError: For tokens of another shape or dtype, none or too many of them, and (on the CPU) ids out of range.
            On a GPU, where looking at ids would make it wait, those are torch's error.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=100, width=32, num_layers=2, num_heads=4, context_length=16)
        >>> model = Transformer(config, generator=torch.Generator().manual_seed(0))
        >>> model(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 100])

    Reference: Vaswani et al. 2017, Attention is all you need, https://arxiv.org/abs/1706.03762; Radford et al. 2019,
    Language models are unsupervised multitask learners, section 2.3 (initialisation)
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        head: bool = True,
        source_width: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.source_width = source_width
        self.has_head = head
        with torch.device("meta"):  # there nothing is drawn from torch's global generator
            self.embedding = _embedding(config.vocab_size, config.width)
            learned = config.positions == "learned"
            self.positions = _embedding(config.context_length, config.width) if learned else None
            self.embedding_norm = make_norm(config) if config.norm_position == "post" else None
            self.dropout = nn.Dropout(config.dropout)
            self.blocks = nn.ModuleList(
                Block(config, layer=layer, source_width=source_width) for layer in range(config.num_layers)
            )
            self.norm = make_norm(config) if config.norm_position == "pre" else None
            untied = head and not config.tied
            self.head = nn.Linear(config.width, config.vocab_size, bias=False) if untied else None
        self.to_empty(device=torch.get_default_device())
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the starting weights (anew), for example after ``to_empty`` has brought it from the meta device."""
        num_added = len(self.blocks) * (2 if self.source_width is None else 3)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(1)
            else:
                adds = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
                std = STARTING_STD / math.sqrt(num_added) if adds else STARTING_STD
                he_normal_(parameter, gain=std * math.sqrt(parameter.shape[1]), generator=generator)

    def forward(
        self,
        tokens: Tensor,
        *,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the logits at each place."""
        hidden = self.hidden_states(tokens, cache=cache, mask=mask, memory=memory, memory_mask=memory_mask)
        return self.logits(hidden) if self.has_head else hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of hidden states ``(..., D)``."""
        if not self.has_head:
            raise ValueError("this Transformer was made with head=False: it has hidden states, but no logits.")
        return F.linear(hidden, self.embedding.weight) if self.head is None else self.head(hidden)

    def hidden_states(
        self,
        tokens: Tensor,
        *,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Return what the last norm puts out, ``(B, T, D)``: what the output layer, or another head, reads."""
        self._check(tokens, cache, mask, memory, memory_mask)
        past = 0 if cache is None else cache.length
        num_tokens = tokens.shape[1]
        if cache is not None and (mask is not None or cache.mask is not None):
            mask = _joined(cache.mask, mask, tokens, past)
        if mask is None:
            places = torch.arange(past, past + num_tokens, device=tokens.device)
        else:
            places = (mask.cumsum(1) - 1).clamp(min=0)[:, past:]
        h = self.embed(tokens, places)
        rotary = rotary_tables(places, self.config, dtype=h.dtype) if self.config.positions == "rotary" else None
        num_keys = num_tokens if cache is None else cache.num_visible + num_tokens
        visible, is_causal = attention_mask(
            num_tokens,
            num_keys,
            causal=self.config.causal,
            window=self.config.window,
            real=None if mask is None else mask[:, mask.shape[1] - num_keys :],
            device=tokens.device,
        )
        source_mask = None if memory_mask is None else memory_mask[:, None, None]
        for block in self.blocks:
            h = block(
                h,
                rotary=rotary,
                mask=visible,
                is_causal=is_causal,
                cache=cache,
                source=memory,
                source_mask=source_mask,
            )
        if cache is not None:
            cache.advance(num_tokens, mask)
        return h if self.norm is None else self.norm(h)

    def embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return what enters the first block, ``(B, T, D)``, for tokens at places ``(T,)`` or ``(B, T)``."""
        try:
            h: Tensor = self.embedding(tokens)
        except IndexError as error:
            raise ValueError(
                f"token ids must lie in [0, {self.config.vocab_size}), got {int(tokens.min())} to {int(tokens.max())}: "
                "are model and tokenizer a pair?"
            ) from error
        if self.positions is not None:
            h = h + self.positions(places)
        elif self.config.positions == "sinusoidal":  # the embeddings scaled up to the waves' size, as in the paper
            h = h * math.sqrt(self.config.width) + sinusoidal_positions(places, self.config.width, dtype=h.dtype)
        if self.embedding_norm is not None:
            h = self.embedding_norm(h)
        dropped: Tensor = self.dropout(h)
        return dropped

    def _check(
        self,
        tokens: Tensor,
        cache: KVCache | None,
        mask: Tensor | None,
        memory: Tensor | None,
        memory_mask: Tensor | None,
    ) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64:
            raise ValueError(f"tokens must be (B, T) of int64, got {tuple(tokens.shape)} of {tokens.dtype}.")
        if tokens.shape[1] == 0:
            raise ValueError("there is nothing to read: tokens has no columns. An empty prompt needs a start token.")
        if cache is not None and cache.config != self.config:
            raise ValueError("the cache was made for a model of another configuration: make it from model.config.")
        past, limit = (0, self.config.context_length) if cache is None else (cache.length, cache.capacity)
        if past + tokens.shape[1] > limit:
            raise ValueError(
                f"{past + tokens.shape[1]} tokens do not fit into "
                f"{'the context length' if cache is None else 'the capacity of the cache,'} {limit}: cut the text, or "
                "make the model or the cache longer."
            )
        if cache is not None and not self.config.causal:
            raise ValueError("a cache is for causal models: here earlier tokens look at later ones.")
        _check_mask("mask", mask, tokens.shape)
        if (memory is None) != (self.source_width is None):
            raise ValueError(
                "memory goes with source_width: a decoder with cross-attention needs it, others have none."
            )
        if memory is not None:
            if memory.ndim != 3 or len(memory) != len(tokens) or memory.shape[2] != self.source_width:
                expected = f"({len(tokens)}, S, {self.source_width})"
                raise ValueError(f"memory must be {expected}, got {tuple(memory.shape)}.")
            _check_mask("memory_mask", memory_mask, memory.shape[:2])


def _embedding(num_embeddings: int, width: int) -> nn.Embedding:
    """Return an embedding that nothing is drawn for (``normal_`` on the meta device would import a second of torch)."""
    return nn.Embedding(num_embeddings, width, _weight=torch.empty(num_embeddings, width))


def _check_mask(name: str, mask: Tensor | None, shape: torch.Size) -> None:
    if mask is not None and (mask.shape != shape or mask.dtype != torch.bool):
        raise ValueError(
            f"{name} must be {tuple(shape)} of bool (True: a token, False: padding), got {tuple(mask.shape)} of "
            f"{mask.dtype}."
        )


def _joined(before: Tensor | None, new: Tensor | None, tokens: Tensor, past: int) -> Tensor:
    """Return the mask of all tokens so far and the new ones."""
    if before is None:
        before = tokens.new_ones((len(tokens), past), dtype=torch.bool)
    if new is None:
        new = torch.ones_like(tokens, dtype=torch.bool)
    return torch.cat([before, new], dim=1)
