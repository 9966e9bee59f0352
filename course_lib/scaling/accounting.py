"""Counting before building: the parameters of a transformer, and the arithmetic of a token."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.nn.transformer import TransformerConfig

# Letters used in this file: T = tokens in a sequence, S = tokens of the source that a decoder looks at, D = width.


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a model, in the two parts that scaling laws treat differently.

    Args:
        embedding: Token table, learned positions, and the output layer if it has its own weights.
        non_embedding: Everything else; Kaplan's N.
    """

    embedding: int
    non_embedding: int

    @property
    def total(self) -> int:
        """Hoffmann's N; as many as the module holds."""
        return self.embedding + self.non_embedding


def num_parameters(config: TransformerConfig, *, head: bool = True, source_width: int | None = None) -> ParameterCount:
    """Return how many parameters ``Transformer(config, head=head, source_width=source_width)`` has.

    Args:
        config: Of the model; nothing is built.
        head: Whether it has an output layer.
        source_width: Width of the encoder's output that it looks at, in a decoder with cross-attention.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> count = num_parameters(gpt(vocab_size=50257, width=768, num_layers=12, num_heads=12, context_length=1024))
        >>> count.embedding, count.non_embedding, count.total  # GPT-2, the smallest
        (39383808, 85056000, 124439808)
    """
    width, hidden, biased = config.width, config.hidden_width, config.bias
    norm = width * (2 if config.norm == "layer" and biased else 1)
    qk_norm = 2 * config.head_width if config.qk_norm else 0
    gate = 1 if config.feed_forward == "swiglu" else 0
    feed_forward = (1 + gate) * _linear(width, hidden, biased) + _linear(hidden, width, biased)
    block = _attention(config, width) + qk_norm + feed_forward + 2 * norm
    if source_width is not None:
        block += _attention(config, source_width) + qk_norm + norm
    table = config.vocab_size * width
    positions = config.context_length * width if config.positions == "learned" else 0
    own_head = table if head and not config.tied else 0
    return ParameterCount(table + positions + own_head, config.num_layers * block + norm)


def _attention(config: TransformerConfig, source_width: int) -> int:
    width, narrow, biased = config.width, config.kv_heads * config.head_width, config.bias
    return 2 * _linear(width, width, biased) + 2 * _linear(source_width, narrow, biased)


def _linear(num_in: int, num_out: int, biased: bool) -> int:
    return num_in * num_out + (num_out if biased else 0)


def forward_flops(
    config: TransformerConfig,
    *,
    num_tokens: int | None = None,
    head: bool = True,
    source_width: int | None = None,
    num_source_tokens: int = 0,
    visible_only: bool = False,
) -> int:
    """Return the FLOP of one sequence going forward: every matrix product, a multiply and an add counted as two.

    Left out: the embedding lookup, norms, softmax, activation functions, residual additions and rotations, which are
    of the order of a per cent of a wide model and move memory rather than compute. (In a narrow one they are more.)

    An encoder-decoder is the sum of two calls: the encoder with ``head=False``, the decoder with its source.

    Args:
        config: Of the model.
        num_tokens: Length of the sequence; the context length by default.
        head: Whether there is an output layer.
        source_width: Width of the source, for a decoder with cross-attention.
        num_source_tokens: Length of the source.
        visible_only: Whether attention is counted for the pairs that see each other (what a kernel that skips masked
            tiles comes close to), or for the whole square, masked half included. Torch's counter, PaLM's definition
            of utilisation and Hoffmann's count take the square.

    Raises:
        ValueError: If the sequence is empty or longer than the context, or a source lacks its length.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=50257, width=768, num_layers=12, num_heads=12, context_length=1024)
        >>> forward_flops(config) / 1e9
        291.6483072
    """
    length = config.context_length if num_tokens is None else num_tokens
    if not 1 <= length <= config.context_length:
        raise ValueError(f"num_tokens must lie in [1, {config.context_length}], the context length; got {num_tokens}.")
    if (source_width is None) != (num_source_tokens == 0) or num_source_tokens < 0:
        raise ValueError(
            f"a source has a width and a length: got source_width {source_width} and "
            f"num_source_tokens {num_source_tokens}."
        )
    width, narrow, hidden = config.width, config.kv_heads * config.head_width, config.hidden_width
    matrices = 3 if config.feed_forward == "swiglu" else 2
    projections = 2 * length * (2 * width * width + 2 * width * narrow)
    feed_forward = 2 * length * matrices * width * hidden
    pairs = _visible_pairs(config, length) if visible_only else length * length
    scores = 2 * 2 * pairs * width  # queries times keys, and weights times values
    block = projections + scores + feed_forward
    if source_width is not None:
        block += 2 * length * 2 * width * width + 2 * num_source_tokens * 2 * source_width * narrow
        block += 2 * 2 * length * num_source_tokens * width
    output = 2 * length * width * config.vocab_size if head else 0
    return config.num_layers * block + output


def _visible_pairs(config: TransformerConfig, length: int) -> int:
    window = min(config.window or length, length)
    behind = window * length - window * (window - 1) // 2  # each token and the window - 1 before it
    return behind if config.causal else 2 * behind - length


def flops_per_token(
    config: TransformerConfig, *, num_tokens: int | None = None, backward: bool = True, visible_only: bool = False
) -> float:
    """Return the FLOP of training on a token, or of reading it, averaged over a sequence.

    Going back costs twice what going forward does: each matrix product has one for the gradient of each of its
    factors. Compare ``6 N`` with N without the embedding table: this adds attention's scores, which grow with the
    length of the sequence, and the output layer, which a small model with a large vocabulary mostly consists of.

    Args:
        config: Of the model.
        num_tokens: Length of the sequences; the context length by default.
        backward: Whether to train (3 times the forward pass) or only to read.
        visible_only: As in `forward_flops`.

    Returns:
        FLOP. Activations computed anew to save memory (a third more with full checkpointing) are not in it.

    Raises:
        ValueError: As `forward_flops`.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> config = gpt(vocab_size=50257, width=768, num_layers=12, num_heads=12, context_length=1024)
        >>> count, exact = num_parameters(config), flops_per_token(config)
        >>> round(exact / (6 * count.total), 3), round(exact / (6 * count.non_embedding), 3)
        (1.144, 1.674)

    Reference: Kaplan et al. 2020, "Scaling laws for neural language models", table 1, https://arxiv.org/abs/2001.08361;
    Hoffmann et al. 2022, "Training compute-optimal large language models", appendix F,
    https://arxiv.org/abs/2203.15556
    """
    length = config.context_length if num_tokens is None else num_tokens
    once = forward_flops(config, num_tokens=length, visible_only=visible_only)
    return (3 if backward else 1) * once / length
