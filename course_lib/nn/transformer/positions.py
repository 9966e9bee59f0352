"""How a token's place is told to attention: sines and cosines to add, and rotations of queries and keys."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.nn.transformer.config import TransformerConfig

# Shape letters used in this file: B = rows, T = tokens, H = heads, D = width, E = width of a head; "..." any axes.


def sinusoidal_positions(positions: Tensor, width: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``sin(p / 10000^(2i/D))`` at number ``2i`` and the cosine of the same at ``2i + 1``.

    Waves of lengths from ``2 pi`` to ``10000 * 2 pi``: a shift of the position is a rotation of each pair.

    Args:
        positions: Places, from 0.
        width: D; must be even.
        dtype: Of the result; half-precision ones are computed in float32, or far places would fall together.

    Shape:
        - positions: ``(...)``, int64
        - output: ``(..., D)``

    Example:
        >>> sinusoidal_positions(torch.tensor([0]), 4).tolist()
        [[0.0, 1.0, 0.0, 1.0]]

    Reference: Vaswani et al. 2017, Attention is all you need, section 3.5, https://arxiv.org/abs/1706.03762
    """
    full = torch.promote_types(dtype, torch.float32)
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=full) / width
    angles = positions.to(full)[..., None] * torch.exp(-math.log(10000) * exponents)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(dtype)


def rotary_frequencies(
    config: TransformerConfig, *, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, float]:
    """Return how far each pair of numbers turns from one token to the next, in radians, and a scale of the result.

    Without scaling ``base^(-2i/E)`` for pair i. To read contexts ``factor`` times longer than those trained at, on
    weights as they are or with a little training:

    - "linear": all frequencies divided by the factor, as if positions were fractions.
    - "ntk": a larger base, ``base * factor^(E / (E - 2))``: the slowest pair is slowed by the factor, the fastest not.
    - "yarn": pairs that turn 32 times or more within the original context stay, those that turn less than once are
      divided, a linear ramp over the pairs in between; queries and keys grow by ``0.1 ln(factor) + 1``, the scale.
    - "llama3": the same idea with 4 turns and 1, the ramp linear in the number of turns; no scale.

    Args:
        config: Gives the width of a head, the base and the scaling.
        device: Where to compute.
        dtype: Of the frequencies.

    Shape:
        - first output: ``(E / 2,)``

    Returns:
        The frequencies, and by what queries and keys are multiplied besides (1 except for "yarn").

    Example:
        >>> from course_lib.nn.transformer import llama
        >>> small = llama(vocab_size=9, width=4, num_layers=1, num_heads=1, context_length=8)
        >>> rotary_frequencies(small)[0].tolist()  # 10000^0 and 10000^(-1/2)
        [1.0, 0.009999999776482582]

    Reference: Su, Lu, Pan, Murtadha, Wen and Liu 2021, RoFormer, section 3.2.2, https://arxiv.org/abs/2104.09864;
    linear: Chen, Wong, Chen and Tian 2023, Extending context window of large language models via positional
    interpolation, https://arxiv.org/abs/2306.15595; ntk and yarn: Peng, Quesnelle, Fan and Shippole 2023, YaRN,
    sections 3.1 to 3.4, https://arxiv.org/abs/2309.00071, with the ramp of the authors' code; llama3: Grattafiori et
    al. 2024, The Llama 3 herd of models, https://arxiv.org/abs/2407.21783, and its published code
    """
    head_width, base, factor = config.head_width, config.rope_base, config.rope_factor
    if config.rope_scaling == "ntk":
        base *= factor ** (head_width / (head_width - 2))
    pairs = torch.arange(head_width // 2, device=device, dtype=dtype)
    frequencies = torch.exp(pairs * (-2 * math.log(base) / head_width))
    if config.rope_scaling == "linear":
        return frequencies / factor, 1.0
    if config.rope_scaling == "yarn":
        first, last = (
            head_width * math.log(config.original_context / (turns * 2 * math.pi)) / (2 * math.log(base))
            for turns in (32, 1)  # the pair that turns so often within the original context
        )
        first, last = max(math.floor(first), 0), min(math.ceil(last), head_width - 1)
        slowed = ((pairs - first) / max(last - first, 0.001)).clamp(0, 1)
        return frequencies * (1 - slowed) + frequencies / factor * slowed, 0.1 * math.log(factor) + 1
    if config.rope_scaling == "llama3":
        turns = frequencies * (config.original_context / (2 * math.pi))
        slowed = 1 - ((turns - 1) / (4 - 1)).clamp(0, 1)
        return frequencies * (1 - slowed) + frequencies / factor * slowed, 1.0
    return frequencies, 1.0


def rotary_tables(positions: Tensor, config: TransformerConfig, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the cosines and signed sines with which `rotate` turns queries and keys at these places.

    Nothing is stored: the tables follow from the configuration, for any device and number format, in no time worth
    mentioning beside a forward pass.

    Args:
        positions: Places, from 0.
        config: Of the model.
        dtype: That of the hidden states; half-precision ones get float32 tables.

    Shape:
        - positions: ``(T,)`` or ``(B, T)``, int64
        - outputs: ``(T, 1, E)`` or ``(B, T, 1, E)``: the same for every head

    Returns:
        ``(cos, sin)``; the first half of ``sin`` has a minus sign.
    """
    dtype = torch.promote_types(dtype, torch.float32)
    frequencies, scale = rotary_frequencies(config, device=positions.device, dtype=dtype)
    angles = positions.to(dtype)[..., None, None] * torch.cat([-frequencies, frequencies])
    cos, sin = angles.cos(), angles.sin()  # cos(-a) = cos(a), sin(-a) = -sin(a)
    return (cos, sin) if scale == 1 else (cos * scale, sin * scale)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair ``(x_i, x_{i + E/2})`` by its angle: ``(x_i cos - x' sin, x' cos + x_i sin)``.

    The dot product of a rotated query with a rotated key depends on how far apart they are, not on where. (RoFormer
    pairs neighbours instead; which numbers pair up is a matter of naming. Hugging Face's Llama pairs halves too.)

    Shape:
        - x: ``(B, T, H, E)``
        - cos, sin: ``(T, 1, E)`` or ``(B, T, 1, E)``, from `rotary_tables`
        - output: like x, in its dtype

    Example:
        >>> quarter_turn = torch.zeros(1, 1, 2), torch.tensor([[[-1.0, 1.0]]])
        >>> rotate(torch.tensor([[[[3.0, 0.0]]]]), *quarter_turn).flatten().tolist()
        [0.0, 3.0]

    Reference: Su et al. 2021, RoFormer, eq. 34, https://arxiv.org/abs/2104.09864
    """
    turned = torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
    return turned.to(x.dtype)
