"""From logits to the distribution that the next token is drawn from: temperature, top-k, top-p."""

from __future__ import annotations

import math
from numbers import Integral

import torch
from torch import Tensor

# Shape letters used in this file: B = rows, V = vocabulary.


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse settings that make no distribution.

    Raises:
        ValueError: For a negative or infinite temperature, ``top_k`` below 1 or no whole number, ``top_p`` outside
            ``(0, 1]``.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature must be finite and 0 (greedy) or more, got {temperature}.")
    if top_k is not None and not isinstance(top_k, Integral):
        raise ValueError(f"top_k must be a whole number, got {top_k!r}.")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}.")


def sampling_distribution(
    logits: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Return the probabilities with which each token is drawn.

    In this order: divide the logits by the temperature; keep the ``top_k`` largest (with ties, all equal to the last);
    of these, keep the most probable until they hold ``top_p`` together; share out what is left over.

    Args:
        logits: Of the model.
        temperature: Below 1 sharpens, above 1 flattens; 0 puts all on the largest logit (the first, if tied).
        top_k: How many tokens to keep. None, or more than there are: all.
        top_p: Probability to keep. None: 1.

    Shape:
        - logits, output: ``(..., V)``; each row of the output sums to 1

    Raises:
        ValueError: For settings out of range.

    Example:
        >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
        >>> sampling_distribution(logits, top_k=2).round(decimals=3).tolist()
        [0.625, 0.375, 0.0]
        >>> sampling_distribution(logits, top_p=0.4).round(decimals=3).tolist()
        [1.0, 0.0, 0.0]

    Reference: top-k: Fan, Lewis and Dauphin 2018, Hierarchical neural story generation,
    https://arxiv.org/abs/1805.04833; top-p: Holtzman, Buys, Du, Forbes and Choi 2020, The curious case of neural text
    degeneration, section 3.1, https://arxiv.org/abs/1904.09751
    """
    check_sampling(temperature, top_k, top_p)
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if top_k is not None and top_k < logits.shape[-1]:  # before or after the division is the same, but for rounding
        last_kept = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < last_kept, -math.inf)
    temperature = max(temperature, torch.finfo(logits.dtype).tiny)  # smaller ones are 0 in this dtype
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature  # the largest is 0: nothing overflows upwards
    probabilities = logits.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        more_probable = ordered.cumsum(dim=-1) - ordered  # what the tokens before hold together
        dropped = (more_probable >= top_p).scatter(-1, order, more_probable >= top_p)
        probabilities = logits.masked_fill(dropped, -math.inf).softmax(dim=-1)
    return probabilities


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Return the token at which the running sum of each row's probabilities passes its uniform number.

    A token of probability 0 is never drawn.

    Shape:
        - probabilities: ``(B, V)``
        - uniform: ``(B,)`` in ``[0, 1)``
        - output: ``(B,)``, int64

    Example:
        >>> draw(torch.tensor([[0.25, 0.0, 0.75]]), torch.tensor([0.25])).tolist()
        [2]
    """
    running = probabilities.cumsum(dim=-1)
    total = running[:, -1:]
    below_total = torch.nextafter(total, torch.zeros_like(total))  # rounding must not carry the target past the end
    target = torch.minimum(uniform[:, None].to(total.dtype) * total, below_total)
    return torch.searchsorted(running, target, right=True)[:, 0]
