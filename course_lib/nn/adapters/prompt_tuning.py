"""Prompt tuning: a few learnt vectors in front of the text, and a frozen transformer that reads them as words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.adapters.targets import Adapted, freeze
from course_lib.nn.transformer import Transformer

# Shape letters used in this file: B = rows, T = tokens, P = virtual tokens, D = width, V = vocabulary.


class Prompt(nn.Module):
    """The learnt vectors, ``(P, D)``."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors)


class PromptEmbedding(Adapted, nn.Embedding):
    """An embedding in which the ids from V on are the prompt's."""

    prompt: Prompt

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up tokens, real and virtual."""
        virtual = tokens - self.num_embeddings
        words = F.embedding(tokens.clamp(max=self.num_embeddings - 1), self.weight, self.padding_idx)
        prompt = F.embedding(virtual.clamp(min=0), self.prompt.vectors)
        return torch.where((virtual >= 0)[..., None], prompt.to(words.dtype), words)  # a bf16 layer's is float32


class PromptTuned(nn.Module):
    """A transformer that reads ``num_tokens`` learnt vectors before each text; nothing else learns.

    What a well-chosen instruction does to a big model, found by gradient descent instead of by hand. The virtual
    tokens take places in the context and get positions as words do; the output has a row for each real token only.
    To write with the prompt, give `generate` the inner model and a prompt in ids::

        generate(tuned.transformer, tuned.prefixed(tokens), max_new_tokens=20)

    Args:
        transformer: Decoder or encoder; changed in place: its embedding learns the virtual tokens' ids (V, V + 1, ...)
            and all its parameters are frozen.
        num_tokens: How many vectors, P.
        start: Token ids whose embeddings are the vectors to start from, such as those of an instruction, P of them.
            None: words of the vocabulary, drawn without replacement.
        generator: Where that draw comes from; torch's global one if None.

    Shape:
        - tokens: ``(B, T)``, int64, with ``P + T <= context_length``
        - mask: ``(B, T)``, bool, True for a token; padding may stand on either side
        - output: ``(B, T, V)``; hidden states ``(B, T, D)`` if the transformer has no head

    Raises:
        ValueError: For fewer than 1 virtual tokens or more than fit, a start of other length or ids, a transformer that
            has a prompt already, and as `Transformer` for tokens.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = Transformer(gpt(vocab_size=50, width=16, num_layers=1, num_heads=2, context_length=12))
        >>> tuned = PromptTuned(model, 3)
        >>> tuned(torch.tensor([[1, 2, 3, 4]])).shape
        torch.Size([1, 4, 50])
        >>> [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]
        ['transformer.embedding.prompt.vectors']

    Reference: Lester, Al-Rfou and Constant 2021, The power of scale for parameter-efficient prompt tuning,
    https://arxiv.org/abs/2104.08691
    """

    def __init__(
        self,
        transformer: Transformer,
        num_tokens: int = 8,
        *,
        start: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        embedding, limit = transformer.embedding, transformer.config.context_length - 1
        if type(embedding) is not nn.Embedding:
            raise ValueError(f"the transformer's embedding is adapted already: it is a {type(embedding).__name__}.")
        most = min(limit, embedding.num_embeddings)
        if num_tokens not in range(1, most + 1):
            raise ValueError(
                f"num_tokens must be from 1 to {most} (the context holds {limit + 1} "
                f"tokens with the text's, the vocabulary {embedding.num_embeddings}), got {num_tokens}."
            )
        ids = _start_ids(start, num_tokens, embedding, generator)
        freeze(transformer)
        self.transformer = transformer
        self.num_tokens = num_tokens
        vectors = embedding.weight.detach()[ids].to(torch.promote_types(embedding.weight.dtype, torch.float32))
        embedding.__class__ = PromptEmbedding  # it stays the object that the output layer may share
        embedding.prompt = Prompt(vectors)

    @property
    def prompt(self) -> nn.Parameter:
        """The learnt vectors, ``(P, D)``."""
        embedding = self.transformer.embedding
        assert isinstance(embedding, PromptEmbedding)
        return embedding.prompt.vectors

    def prefixed(self, tokens: Tensor) -> Tensor:
        """Return ``(B, P + T)``: the virtual tokens' ids, then ``tokens``."""
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be (B, T), got {tuple(tokens.shape)}.")
        vocab_size = self.transformer.config.vocab_size
        if tokens.device.type == "cpu" and tokens.numel() and int(tokens.max()) >= vocab_size:
            raise ValueError(
                f"token ids must lie in [0, {vocab_size}), got {int(tokens.max())}: are model and tokenizer a pair?"
            )
        virtual = torch.arange(vocab_size, vocab_size + self.num_tokens, device=tokens.device, dtype=tokens.dtype)
        return torch.cat([virtual.expand(len(tokens), -1), tokens], dim=1)

    def forward(self, tokens: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Return the logits at each real token."""
        if mask is not None:
            if mask.shape != tokens.shape or mask.dtype != torch.bool:
                raise ValueError(
                    f"mask must be {tuple(tokens.shape)} of bool (True: a token, False: padding), got "
                    f"{tuple(mask.shape)} of {mask.dtype}: the prompt's places are added here."
                )
            mask = torch.cat([mask.new_ones(len(mask), self.num_tokens), mask], dim=1)
        out: Tensor = self.transformer(self.prefixed(tokens), mask=mask)
        return out[:, self.num_tokens :]


def _start_ids(
    start: Sequence[int] | None, num_tokens: int, embedding: nn.Embedding, generator: torch.Generator | None
) -> Tensor:
    if start is None:
        device = None if generator is None else generator.device
        return torch.randperm(embedding.num_embeddings, generator=generator, device=device)[:num_tokens]
    if len(start) != num_tokens or not all(0 <= token < embedding.num_embeddings for token in start):
        raise ValueError(
            f"start must be {num_tokens} token ids in [0, {embedding.num_embeddings}), got {list(start)}: repeat or "
            "cut them."
        )
    return torch.tensor(list(start))
