"""Captions to embeddings: a small transformer that can read word order, or a bag of words that cannot."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from course_lib.nn._layers import linear
from course_lib.nn.initialisers import he_normal_
from course_lib.nn.mlp import MLP
from course_lib.nn.transformer.model import Transformer
from course_lib.nn.transformer.presets import gpt

# Shape letters used in this file: N = captions, L = words, W = width.

CaptionKind = Literal["transformer", "bag"]
PADDING = 0  # the word id that stands for "no word here"


class CaptionEncoder(nn.Module):
    """Word vectors, mixed by attention (``"transformer"``) or not (``"bag"``), averaged, and mapped to an embedding.

    The bag is the baseline that knows every word and no order: "a bold R left of an italic S" and "an italic S left of
    a bold R" are the same to it. After the average it has a hidden layer, so that it lacks nothing else.

    Args:
        vocab_size: Word ids lie in ``[0, vocab_size)``; id 0 is padding.
        width: Numbers per word.
        kind: ``"transformer"`` (every word sees all others, learned positions) or ``"bag"``.
        embedding_width: Of the output.
        max_length: Most words in a caption.
        num_layers: Blocks of the transformer.
        num_heads: Its attention heads; they share ``width`` evenly.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - captions: ``(N, L)``, int64, padded with 0 at either end, ``1 <= L <= max_length``
        - output: ``(N, embedding_width)``, of any length: not normalised

    Raises:
        ValueError: For an unknown kind, for captions of another shape or dtype or with too many words, and (on the CPU)
            for ids out of range. A caption without words is no error: its average is zero.

    Example:
        >>> encoder = CaptionEncoder(50, 32, embedding_width=16)
        >>> encoder(torch.tensor([[3, 4, 5], [7, 0, 0]])).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 64,
        *,
        kind: CaptionKind = "transformer",
        embedding_width: int = 128,
        max_length: int = 32,
        num_layers: int = 2,
        num_heads: int = 4,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if kind not in get_args(CaptionKind):
            raise ValueError(f'kind must be "transformer" or "bag", got {kind!r}.')
        self.kind = kind
        self.vocab_size = vocab_size
        self.max_length = max_length
        self.words: nn.Module
        self.head: nn.Module
        if kind == "transformer":
            config = gpt(
                vocab_size=vocab_size,
                width=width,
                num_layers=num_layers,
                num_heads=num_heads,
                context_length=max_length,
                causal=False,
            )
            self.words = Transformer(config, head=False, generator=generator)
            self.head = linear(width, embedding_width, initialiser=he_normal_, generator=generator)
        else:
            weight = he_normal_(torch.empty(vocab_size, width), gain=math.sqrt(width), generator=generator)  # std 1
            self.words = nn.Embedding(vocab_size, width, _weight=weight)
            self.head = MLP((width, 4 * width, embedding_width), generator=generator)

    def forward(self, captions: Tensor) -> Tensor:
        """Return the embedding of each caption."""
        self._check(captions)
        real_NL = captions != PADDING
        vectors_NLW = self.words(captions, mask=real_NL) if self.kind == "transformer" else self.words(captions)
        num_words = real_NL.sum(dim=1, keepdim=True).clamp(min=1)
        mean_NW = vectors_NLW.masked_fill(~real_NL[..., None], 0).sum(dim=1) / num_words
        embeddings: Tensor = self.head(mean_NW)
        return embeddings

    def _check(self, captions: Tensor) -> None:
        if captions.ndim != 2 or captions.dtype != torch.int64:
            raise ValueError(
                f"captions must be word ids (N, L) of int64, got {tuple(captions.shape)} of {captions.dtype}."
            )
        if not 1 <= captions.shape[1] <= self.max_length:
            raise ValueError(
                f"captions must have 1 to {self.max_length} words, got {captions.shape[1]}: raise max_length."
            )
        on_cpu = captions.device.type == "cpu" and captions.numel()  # looking there makes no device wait
        if on_cpu and not 0 <= int(captions.min()) <= int(captions.max()) < self.vocab_size:
            raise ValueError(
                f"word ids must lie in [0, {self.vocab_size}), got {int(captions.min())} to {int(captions.max())}: "
                "were they made with another vocabulary?"
            )
