"""All the choices that make a transformer a GPT, a Llama or a BERT, in one flat record that is checked once."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

Positions = Literal["learned", "sinusoidal", "rotary", "none"]
RopeScaling = Literal["none", "linear", "ntk", "yarn", "llama3"]
NormKind = Literal["layer", "rms"]
NormPosition = Literal["pre", "post"]
FeedForwardKind = Literal["gelu", "gelu_tanh", "swiglu"]

_CHOICES = {
    "positions": Positions,
    "rope_scaling": RopeScaling,
    "norm": NormKind,
    "norm_position": NormPosition,
    "feed_forward": FeedForwardKind,
}
_COUNTS = ("vocab_size", "width", "num_layers", "num_heads", "context_length", "kv_heads", "hidden_width")
_OPTIONAL_COUNTS = ("window", "rope_original_context")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """The shape of a `Transformer`; numbers, strings and flags only, so that it goes through JSON and back.

    The presets `gpt`, `llama` and `bert` fill in a family's choices.

    Args:
        vocab_size: How many tokens there are; ids lie in ``[0, vocab_size)``.
        width: Numbers in the residual stream, per token.
        num_layers: Blocks.
        num_heads: Attention heads for queries; they share ``width`` evenly.
        context_length: Most tokens that the model can look at.
        num_kv_heads: Heads for keys and values: ``num_heads`` (None) is multi-head attention, 1 multi-query attention,
            a divisor in between grouped-query attention.
        feed_forward_width: Hidden units of the feed-forward layer. None: ``4 * width``, for SwiGLU, which has three
            matrices instead of two, ``8/3 * width`` up to the next multiple of 64.
        positions: How a token's place is told: a learned vector each, sines and cosines added to the embeddings,
            queries and keys rotated, or not at all.
        rope_base: Base of the rotary frequencies; larger turns more slowly.
        rope_scaling: How rotary positions beyond those trained at are squeezed in; see `rotary_frequencies`.
        rope_factor: By how much the context is extended.
        rope_original_context: Context trained at, for "yarn" and "llama3". None: ``context_length / rope_factor``.
        norm: Layer norm, or RMS norm, which neither centres nor shifts.
        norm_eps: Added to the variance or the mean square.
        norm_position: "pre": before each layer and once at the end. "post": after each addition, and once on the
            embeddings, as in BERT.
        fused_projections: Whether queries, keys and values of self-attention come out of one matrix product, as in
            GPT-2: some 1 % faster to train on a CPU, but adapters and parallel plans see one layer then and not three.
        qk_norm: Whether the queries and keys of each head go through an RMS norm of their own, which bounds the logits.
        feed_forward: GELU by its definition, by the tanh formula of GPT-2, or SwiGLU.
        bias: Whether linear layers and layer norms have biases.
        tied: Whether the output layer uses the embedding's weights.
        causal: Whether a token sees only itself and what came before (decoder), or everything (encoder).
        window: How many tokens each sees, itself included (without ``causal``: as many to either side). None: all.
        dropout: Of embeddings, attention weights, and each layer's output, while training.

    Raises:
        ValueError: For counts below 1 or not whole, widths that do not divide, an unknown choice, and options without
            effect.

    Example:
        >>> from dataclasses import asdict
        >>> import json
        >>> config = TransformerConfig(vocab_size=256, width=64, num_layers=2, num_heads=4, context_length=32)
        >>> config.head_width, config.kv_heads, config.hidden_width
        (16, 4, 256)
        >>> TransformerConfig(**json.loads(json.dumps(asdict(config)))) == config
        True
    """

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    context_length: int
    num_kv_heads: int | None = None
    feed_forward_width: int | None = None
    positions: Positions = "learned"
    rope_base: float = 10000.0
    rope_scaling: RopeScaling = "none"
    rope_factor: float = 1.0
    rope_original_context: int | None = None
    norm: NormKind = "layer"
    norm_eps: float = 1e-5
    norm_position: NormPosition = "pre"
    fused_projections: bool = False
    qk_norm: bool = False
    feed_forward: FeedForwardKind = "gelu_tanh"
    bias: bool = True
    tied: bool = True
    causal: bool = True
    window: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}, got {getattr(self, name)!r}.")
        for name in (*_COUNTS, *_OPTIONAL_COUNTS):
            value = getattr(self, name)
            if not isinstance(value, Integral) and not (value is None and name in _OPTIONAL_COUNTS):
                raise ValueError(f"{name} must be a whole number, got {value!r}.")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} cannot be shared evenly by num_heads {self.num_heads}.")
        if self.num_heads % self.kv_heads:
            raise ValueError(f"num_heads {self.num_heads} must be a multiple of num_kv_heads {self.kv_heads}.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1 (the token itself) or None, got {self.window}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}.")
        if not self.norm_eps > 0:
            raise ValueError(f"norm_eps must be positive, got {self.norm_eps}.")
        self._check_positions()

    def _check_positions(self) -> None:
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions pair up numbers: width must be even, got {self.width}.")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions turn pairs of numbers: width / num_heads is odd ({self.head_width}).")
        if self.rope_scaling == "ntk" and self.head_width < 4:
            raise ValueError(f"rope_scaling 'ntk' needs heads of width 4 or more, got {self.head_width}.")
        if not self.rope_base > 1:
            raise ValueError(f"rope_base must be above 1, got {self.rope_base}.")
        if not self.rope_factor >= 1:
            raise ValueError(f"rope_factor, by which the context grows, must be 1 or more, got {self.rope_factor}.")
        if (self.rope_scaling == "none") != (self.rope_factor == 1):
            raise ValueError(
                f"rope_scaling {self.rope_scaling!r} and rope_factor {self.rope_factor} do not fit: choose a scaling "
                "and a factor above 1, or neither."
            )
        if self.rope_scaling != "none" and self.positions != "rotary":
            raise ValueError(f"rope_scaling {self.rope_scaling!r} needs positions='rotary', got {self.positions!r}.")
        if self.rope_original_context is not None and self.rope_scaling not in ("yarn", "llama3"):
            raise ValueError(f"rope_original_context has no effect with rope_scaling {self.rope_scaling!r}.")
        if self.rope_original_context is not None and self.rope_original_context < 1:
            raise ValueError(f"rope_original_context must be at least 1 or None, got {self.rope_original_context}.")

    @property
    def head_width(self) -> int:
        """Numbers in a query, a key and a value."""
        return self.width // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Heads that keys and values have."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def hidden_width(self) -> int:
        """Hidden units of the feed-forward layer."""
        if self.feed_forward_width is not None:
            return self.feed_forward_width
        return -(-8 * self.width // 192) * 64 if self.feed_forward == "swiglu" else 4 * self.width

    @property
    def original_context(self) -> float:
        """Context length that rotary positions were trained at."""
        return self.rope_original_context or self.context_length / self.rope_factor
