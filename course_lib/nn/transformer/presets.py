"""The choices that three families of models made, as functions that return a `TransformerConfig`."""

from __future__ import annotations

from typing import Any

from course_lib.nn.transformer.config import TransformerConfig


def gpt(
    *, vocab_size: int, width: int, num_layers: int, num_heads: int, context_length: int, **options: Any
) -> TransformerConfig:
    """Return a decoder like GPT-2: learned positions, layer norm, GELU by its tanh formula, biases, tied output.

    Args:
        vocab_size: Tokens.
        width: Numbers in the residual stream.
        num_layers: Blocks.
        num_heads: Attention heads.
        context_length: Most tokens.
        options: Any other field of `TransformerConfig`, which then wins over the family's choice.

    Example:
        >>> gpt2 = gpt(vocab_size=50257, width=768, num_layers=12, num_heads=12, context_length=1024)
        >>> gpt2.hidden_width, gpt2.tied
        (3072, True)

    Reference: Radford, Wu, Child, Luan, Amodei and Sutskever 2019, Language models are unsupervised multitask learners
    """
    family: dict[str, Any] = {"positions": "learned", "norm": "layer", "feed_forward": "gelu_tanh"}
    return _config(family | options, vocab_size, width, num_layers, num_heads, context_length)


def llama(
    *, vocab_size: int, width: int, num_layers: int, num_heads: int, context_length: int, **options: Any
) -> TransformerConfig:
    """Return a decoder like Llama: rotary positions, RMS norm, SwiGLU, no biases, an output layer of its own.

    Llama 2 70B and later have fewer heads for keys and values: ``num_kv_heads=8``.

    Args:
        vocab_size: Tokens.
        width: Numbers in the residual stream.
        num_layers: Blocks.
        num_heads: Attention heads.
        context_length: Most tokens.
        options: Any other field of `TransformerConfig`, which then wins over the family's choice.

    Example:
        >>> llama(vocab_size=512, width=384, num_layers=6, num_heads=6, context_length=256).hidden_width
        1024

    Reference: Touvron, Lavril, Izacard et al. 2023, LLaMA: open and efficient foundation language models,
    https://arxiv.org/abs/2302.13971
    """
    family = {"positions": "rotary", "norm": "rms", "feed_forward": "swiglu", "bias": False, "tied": False}
    return _config(family | options, vocab_size, width, num_layers, num_heads, context_length)


def bert(
    *, vocab_size: int, width: int, num_layers: int, num_heads: int, context_length: int, **options: Any
) -> TransformerConfig:
    """Return an encoder like BERT: every token sees all, norms after each addition, learned positions, exact GELU.

    BERT's segment embeddings and the extra layer before its output are left out.

    Args:
        vocab_size: Tokens.
        width: Numbers in the residual stream.
        num_layers: Blocks.
        num_heads: Attention heads.
        context_length: Most tokens.
        options: Any other field of `TransformerConfig`, which then wins over the family's choice.

    Example:
        >>> bert(vocab_size=30522, width=768, num_layers=12, num_heads=12, context_length=512).causal
        False

    Reference: Devlin, Chang, Lee and Toutanova 2019, BERT: pre-training of deep bidirectional transformers for
    language understanding, https://arxiv.org/abs/1810.04805
    """
    family = {"causal": False, "norm_position": "post", "norm_eps": 1e-12, "feed_forward": "gelu"}
    return _config(family | options, vocab_size, width, num_layers, num_heads, context_length)


def _config(
    options: dict[str, Any], vocab_size: int, width: int, num_layers: int, num_heads: int, context_length: int
) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=vocab_size,
        width=width,
        num_layers=num_layers,
        num_heads=num_heads,
        context_length=context_length,
        **options,
    )
