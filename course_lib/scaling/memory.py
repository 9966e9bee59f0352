"""Counting bytes: what training keeps in memory, and what generation keeps for each token."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.nn.transformer import TransformerConfig
from course_lib.scaling.accounting import num_parameters


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes that training needs, by what they are for.

    Args:
        weights: The parameters.
        gradients: One number a parameter.
        optimizer: Adam's two moments, and a float32 copy of the weights if these are shorter.
        activations: What the forward pass keeps for the backward pass, at its most.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All together; a real process adds buffers, fragmentation and the libraries' own memory."""
        return self.weights + self.gradients + self.optimizer + self.activations


def activation_bytes(
    config: TransformerConfig,
    *,
    batch_size: int,
    num_tokens: int | None = None,
    bytes_per_number: int = 4,
    checkpointing: bool = False,
) -> int:
    """Return the bytes that the forward pass of training keeps for the backward pass.

    With torch's fused attention, whose T x T weights are never kept. Counted are the tensors that each operation saves:
    inputs of norms and of linear layers, queries, keys, values and attention's output, inputs of activation functions,
    and the logits' log-softmax. Left out are masks (of dropout, of a window), rotation tables, and whatever is freed
    during the forward pass. RMS norms are counted as torch computes them on the CPU, where they keep their normalised
    input besides; a fused kernel does not.

    Args:
        config: Of the model; without dropout.
        batch_size: Sequences at once.
        num_tokens: Their length; the context length by default.
        bytes_per_number: 4 for float32, 2 for bf16.
        checkpointing: Keep only each block's input, and compute the rest of a block again when going back: a third
            more arithmetic, and at its most one block's activations at a time.

    Raises:
        ValueError: If a count is not positive, or the model has dropout.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=50257, width=768, num_layers=12, num_heads=12, context_length=1024)
        >>> plain, short = (activation_bytes(config, batch_size=8, checkpointing=c) / 2**30 for c in (False, True))
        >>> round(plain, 2), round(short, 2)
        (6.09, 2.24)

    Reference: Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", section 4,
    https://arxiv.org/abs/2205.05198 (with unfused attention and dropout); Chen et al. 2016, "Training deep nets with
    sublinear memory cost", https://arxiv.org/abs/1604.06174
    """
    length = config.context_length if num_tokens is None else num_tokens
    if min(batch_size, length, bytes_per_number) < 1:
        raise ValueError(
            f"batch_size, num_tokens and bytes_per_number must be at least 1, got {batch_size}, {length} and "
            f"{bytes_per_number}."
        )
    if config.dropout:
        raise ValueError(f"masks of dropout are not counted: expected dropout=0, got {config.dropout}.")
    block = _block_numbers(config)
    last = _norm_numbers(config, config.width) + config.width + config.vocab_size  # and the log-probabilities
    blocks = config.num_layers * config.width + block if checkpointing else config.num_layers * block
    return batch_size * length * (blocks + last) * bytes_per_number


def _block_numbers(config: TransformerConfig) -> int:
    """Numbers that one block keeps of a token."""
    width, narrow, hidden = config.width, config.kv_heads * config.head_width, config.hidden_width
    norms = 2 * (_norm_numbers(config, width) + width)  # with their outputs, which the linear layers keep
    attention = 2 * width + 2 * narrow + config.num_heads  # queries, keys, values, the output, the softmax's sums
    if config.qk_norm:
        attention += 2 * (width + narrow) + config.num_heads + config.kv_heads  # as the RMS norms below, head by head
    feed_forward = (4 if config.feed_forward == "swiglu" else 2) * hidden
    return norms + attention + feed_forward


def _norm_numbers(config: TransformerConfig, width: int) -> int:
    """Numbers that a norm keeps of a token: its input, its statistics, and RMS norm on the CPU the normalised input."""
    return width + 2 if config.norm == "layer" else 2 * width + 1


def training_memory(
    config: TransformerConfig,
    *,
    batch_size: int,
    num_tokens: int | None = None,
    mixed: bool = False,
    checkpointing: bool = False,
) -> MemoryUse:
    """Return what training with Adam keeps in memory, all on one device.

    Float32 takes 4 + 4 + 8 = 16 bytes a parameter. Mixed precision with 16-bit weights and gradients takes
    2 + 2 + 12 = 16 as well, as the optimizer then holds float32 weights besides: it saves activations, not state.

    Args:
        config: Of the model.
        batch_size: Sequences at once.
        num_tokens: Their length; the context length by default.
        mixed: 16-bit weights, gradients and activations instead of float32.
        checkpointing: As in `activation_bytes`.

    Raises:
        ValueError: As `activation_bytes`.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=50257, width=768, num_layers=12, num_heads=12, context_length=1024)
        >>> use = training_memory(config, batch_size=8)
        >>> [round(part / 2**30, 2) for part in (use.weights, use.gradients, use.optimizer, use.total)]
        [0.46, 0.46, 0.93, 7.94]

    Reference: Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models",
    section 3.1, https://arxiv.org/abs/1910.02054
    """
    count = num_parameters(config).total
    each = 2 if mixed else 4
    kept = activation_bytes(
        config, batch_size=batch_size, num_tokens=num_tokens, bytes_per_number=each, checkpointing=checkpointing
    )
    return MemoryUse(each * count, each * count, (12 if mixed else 8) * count, kept)


def kv_cache_bytes_per_token(config: TransformerConfig, *, bytes_per_number: int = 2) -> int:
    """Return what generation keeps for each token of each text: a key and a value for every head and layer.

    Args:
        config: Of the model. With a window, a cache never holds more tokens than that.
        bytes_per_number: 2 for bf16.

    Example:
        >>> from course_lib.nn.transformer import llama
        >>> shape = dict(vocab_size=128256, width=4096, num_layers=32, num_heads=32, context_length=8192)
        >>> [kv_cache_bytes_per_token(llama(**shape, num_kv_heads=heads)) // 1024 for heads in (32, 8, 1)]  # kibibytes
        [512, 128, 16]
    """
    if bytes_per_number < 1:
        raise ValueError(f"bytes_per_number must be at least 1, got {bytes_per_number}.")
    return 2 * config.num_layers * config.kv_heads * config.head_width * bytes_per_number
