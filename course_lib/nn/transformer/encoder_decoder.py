"""An encoder reads the source, a decoder writes the target while looking at what the encoder made of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.nn.transformer.config import TransformerConfig
from course_lib.nn.transformer.model import Transformer

# Shape letters used in this file: B = rows, S = tokens of the source, T = tokens of the target, D = width,
# V = vocabulary of the target.


class EncoderDecoder(nn.Module):
    """The transformer of 2017: ``decoder(target, memory=encoder(source))``.

    To write, give the decoder and the memory to `generate`: ``generate(model.decoder, prompts,
    memory=model.encode(source), ...)``.

    Args:
        encoder: Must not be causal; it has no output layer.
        decoder: Must be causal. Its width may differ from the encoder's.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - source: ``(B, S)``, target: ``(B, T)``, int64: the target is what stands before each place that is predicted
        - source_mask, target_mask: the same shapes, bool, True for a token
        - output: ``(B, T, V)``

    Raises:
        ValueError: If the encoder is causal, the decoder is not, or the tokens do not fit (see `Transformer`).

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> shape = dict(vocab_size=50, width=16, num_layers=1, num_heads=2, context_length=8)
        >>> model = EncoderDecoder(gpt(**shape, causal=False), gpt(**shape))
        >>> model(torch.tensor([[7, 8, 9]]), torch.tensor([[0, 9]])).shape
        torch.Size([1, 2, 50])

    Reference: Vaswani et al. 2017, Attention is all you need, figure 1, https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        encoder: TransformerConfig,
        decoder: TransformerConfig,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if encoder.causal or not decoder.causal:
            raise ValueError(
                f"the encoder sees everything and the decoder only what came before: causal must be False and True, "
                f"got {encoder.causal} and {decoder.causal}."
            )
        self.encoder = Transformer(encoder, head=False, generator=generator)
        self.decoder = Transformer(decoder, source_width=encoder.width, generator=generator)

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        *,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of the token after each of the target's."""
        memory = self.encode(source, mask=source_mask)
        logits: Tensor = self.decoder(target, mask=target_mask, memory=memory, memory_mask=source_mask)
        return logits

    def encode(self, source: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Return what the encoder makes of the source, ``(B, S, D)``."""
        memory: Tensor = self.encoder(source, mask=mask)
        return memory
