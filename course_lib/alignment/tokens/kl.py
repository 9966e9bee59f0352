"""How far a policy is from its reference: three estimates from single tokens, the exact value, a controller of both."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Shape letters used in this file: V = vocabulary; "..." is any shape, one number a token, say.


class KLEstimates(NamedTuple):
    """Three estimates of KL(policy || reference) at each token that the policy drew; see `kl_estimates`."""

    k1: Tensor
    k2: Tensor
    k3: Tensor


def kl_estimates(log_probs: Tensor, reference_log_probs: Tensor) -> KLEstimates:
    """Return ``k1 = -log r``, ``k2 = (log r)^2 / 2`` and ``k3 = r - 1 - log r``, with ``r = reference / policy``.

    All are about tokens **drawn from the policy**. On average over them k1 and k3 are KL(policy || reference) exactly;
    k2 is only near it, while the two are near each other. k1 may be negative and varies most; k2 and k3 are never
    negative, and vary little near the reference. Far from it k3 has rare, huge values where the reference is much
    likelier.

    As a number in a reward or in a plot that is all. As a **loss** with gradients it is otherwise: the gradient of k1
    has mean 0, that of k3 belongs to KL(reference || policy), and k2 alone has that of KL(policy || reference).

    Args:
        log_probs: Of the tokens under the policy that drew them.
        reference_log_probs: Of the same tokens under the reference.

    Shape:
        - both, and each output: ``(...)``; floating point

    Returns:
        In nats; 0 where the two agree.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> [round(k.item(), 4) for k in kl_estimates(torch.tensor(0.5).log(), torch.tensor(0.25).log())]
        [0.6931, 0.2402, 0.1931]

    Reference: Schulman 2020, Approximating KL divergence, http://joschu.net/blog/kl-approx.html
    """
    _check_same_shape("kl_estimates", log_probs, reference_log_probs)
    log_ratio = reference_log_probs - log_probs
    return KLEstimates(-log_ratio, log_ratio.square() / 2, log_ratio.expm1() - log_ratio)


def exact_kl(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """Return KL(policy || reference) of the next token: the sum over the whole vocabulary, nothing estimated.

    Args:
        logits: Of the policy; a token that is too unlikely for a floating-point number, or -inf, is never drawn.
        reference_logits: Of the reference.

    Shape:
        - both: ``(..., V)``; output: ``(...)``, float32 at least

    Returns:
        In nats: 0 where the two agree; infinite where the policy draws what the reference never does.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> exact_kl(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log())  # ln(4/3) / 2
        tensor(0.1438)
    """
    _check_same_shape("exact_kl", logits, reference_logits)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    log_probs, reference = logits.to(dtype).log_softmax(-1), reference_logits.to(dtype).log_softmax(-1)
    never = log_probs.exp() == 0  # 0 log 0 is 0, and so it is of what is too small for a float
    surprises = log_probs.masked_fill(never, 0) - reference.masked_fill(never, 0)
    return (log_probs.exp() * surprises).sum(-1)


@dataclass(slots=True)
class KLController:
    """The coefficient of the KL penalty: fixed, or moved until the policy is as far away as it shall be.

    After each rollout the coefficient is multiplied by ``1 + gain * e``, where ``e = KL / target - 1`` is held within
    -0.2 and 0.2: too far away, and the penalty grows.

    Args:
        coefficient: At the start; what a nat costs in units of reward.
        target: How far in nats **a completion** (not a token) the policy shall be. None: the coefficient stays.
        gain: How quickly it moves.

    Raises:
        ValueError: If the coefficient is negative (or 0 with a target: it could not grow), the target is not above 0
            or ``gain`` not between 0 and 5; in use, if KL is not finite.

    Example:
        >>> controller = KLController(0.1, target=6.0)
        >>> controller.update(12.0)
        >>> round(controller.coefficient, 6)  # the error of 1 counts as 0.2: 2 % more
        0.102

    Reference: Ziegler et al. 2019, Fine-tuning language models from human preferences, section 2.2,
    https://arxiv.org/abs/1909.08593
    """

    coefficient: float
    _: KW_ONLY
    target: float | None = None
    gain: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.coefficient < math.inf:
            raise ValueError(f"coefficient must be 0 or more, got {self.coefficient}.")
        if self.target is not None and not 0 < self.target < math.inf:
            raise ValueError(f"target must be above 0 nats a completion, got {self.target}; None keeps it fixed.")
        if self.target is not None and self.coefficient == 0:
            raise ValueError(
                "a coefficient of 0 stays 0, whatever it is multiplied by: start above it, or leave target."
            )
        if not 0 < self.gain < 5:
            raise ValueError(f"gain must be between 0 and 5, or the coefficient could change sign, got {self.gain}.")

    def update(self, kl: float) -> None:
        """Take in the mean KL a completion of the last rollout, in nats."""
        if not math.isfinite(kl):
            raise ValueError(f"the KL of a rollout must be finite, got {kl}.")
        if self.target is not None:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.coefficient *= 1 + self.gain * error


def _check_same_shape(name: str, first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ValueError(
            f"{name} needs policy and reference of one shape, got {tuple(first.shape)} and {tuple(second.shape)}."
        )
