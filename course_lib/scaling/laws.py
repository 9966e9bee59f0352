"""Three laws of scaling: how a loss falls with one quantity, or with parameters and tokens together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.scaling._inputs import positive

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``irreducible + coefficient * x ** -exponent``: each tenfold of ``x`` takes away the same share of the excess.

    Args:
        coefficient: The reducible loss at ``x = 1``.
        exponent: How fast it falls; the slope, its sign turned, on doubly logarithmic axes.
        irreducible: What no ``x`` takes away; the loss itself is a straight line on these axes only if it is 0.

    Example:
        >>> law = PowerLaw(coefficient=8.0, exponent=0.5, irreducible=1.0)
        >>> [float(law.loss(x)) for x in (1, 4, 16)]
        [9.0, 5.0, 3.0]
    """

    coefficient: float
    exponent: float
    irreducible: float = 0.0

    def loss(self, x: ArrayLike) -> Floats:
        """Return the loss at ``x``, which may be an array."""
        return self.irreducible + self.coefficient * positive("x", x) ** -self.exponent


@dataclass(frozen=True, slots=True)
class KaplanLaw:
    """Kaplan's ``L(N, D) = [(N_c / N) ** (alpha_N / alpha_D) + D_c / D] ** alpha_D``, without an irreducible part.

    With endless data it is ``(N_c / N) ** alpha_N``, with an endless model ``(D_c / D) ** alpha_D``. ``N`` leaves
    embeddings out, and ``D`` is the size of the data set on which a model is trained until it overfits.

    Args:
        critical_parameters: N_c.
        critical_tokens: D_c.
        parameter_exponent: alpha_N.
        token_exponent: alpha_D.

    Example:
        >>> law = KaplanLaw(8.8e13, 5.4e13, 0.076, 0.095)
        >>> round(float(law.loss(8.8e13, 1e30)), 3), round(float(law.loss(1e30, 5.4e13)), 3)
        (1.0, 1.0)

    Reference: Kaplan et al. 2020, "Scaling laws for neural language models", eq. 1.5,
    https://arxiv.org/abs/2001.08361
    """

    critical_parameters: float
    critical_tokens: float
    parameter_exponent: float
    token_exponent: float

    def loss(self, num_parameters: ArrayLike, num_tokens: ArrayLike) -> Floats:
        """Return the loss in nats a token; arrays broadcast."""
        n, d = positive("num_parameters", num_parameters), positive("num_tokens", num_tokens)
        ratio = self.parameter_exponent / self.token_exponent
        by_size = (self.critical_parameters / n) ** ratio
        return np.asarray((by_size + self.critical_tokens / d) ** self.token_exponent)


@dataclass(frozen=True, slots=True)
class Frontier:
    """The best size for a compute budget, ``N_opt = scale * C ** exponent``; the tokens follow from ``C = 6 N D``.

    Args:
        scale: N_opt at one FLOP.
        exponent: 0.5 grows parameters and tokens alike; more than that favours parameters.

    Example:
        >>> frontier = Frontier(scale=0.1, exponent=0.5)
        >>> float(frontier.num_parameters(6e22)), float(frontier.num_tokens(6e22))  # doctest: +ELLIPSIS
        (24494897427.8..., 408248290463.8...)
    """

    scale: float
    exponent: float

    def num_parameters(self, flops: ArrayLike) -> Floats:
        """Return N_opt for budgets in FLOP."""
        return np.asarray(self.scale * positive("flops", flops) ** self.exponent)

    def num_tokens(self, flops: ArrayLike) -> Floats:
        """Return D_opt for budgets in FLOP."""
        c = positive("flops", flops)
        return np.asarray(c / (6 * self.num_parameters(c)))


@dataclass(frozen=True, slots=True)
class ChinchillaLaw:
    """Hoffmann's ``L(N, D) = E + A / N ** alpha + B / D ** beta``: entropy, too few parameters, too few tokens.

    ``D`` counts the tokens of a run that sees each of them once.

    Args:
        irreducible: E, the entropy of the text in nats a token, as far as any model of this family can tell.
        parameter_coefficient: A.
        token_coefficient: B.
        parameter_exponent: alpha.
        token_exponent: beta.

    Example:
        >>> law = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
        >>> round(float(law.loss(70e9, 1.4e12)), 3)
        1.937
        >>> round(law.frontier().exponent, 3)
        0.452

    Reference: Hoffmann et al. 2022, "Training compute-optimal large language models", eq. 2 and 4,
    https://arxiv.org/abs/2203.15556
    """

    irreducible: float
    parameter_coefficient: float
    token_coefficient: float
    parameter_exponent: float
    token_exponent: float

    def loss(self, num_parameters: ArrayLike, num_tokens: ArrayLike) -> Floats:
        """Return the loss in nats a token; arrays broadcast."""
        n, d = positive("num_parameters", num_parameters), positive("num_tokens", num_tokens)
        too_small = self.parameter_coefficient * n**-self.parameter_exponent
        too_short = self.token_coefficient * d**-self.token_exponent
        return np.asarray(self.irreducible + too_small + too_short)

    def frontier(self) -> Frontier:
        """Return the sizes that minimise the loss under ``C = 6 N D``, in closed form.

        With ``D = C / 6N`` the derivative over ``log N`` vanishes where ``alpha A / N ** alpha`` equals
        ``beta B / D ** beta``: at the optimum one per cent more parameters gains as much as one per cent more tokens.
        So ``N_opt = G (C / 6) ** a`` with ``a = beta / (alpha + beta)`` and
        ``G = (alpha A / (beta B)) ** (1 / (alpha + beta))``.
        """
        alpha, beta = self.parameter_exponent, self.token_exponent
        if not (alpha > 0 and beta > 0):
            raise ValueError(f"an optimum needs two positive exponents, got alpha {alpha} and beta {beta}.")
        gain = alpha * self.parameter_coefficient / (beta * self.token_coefficient)
        exponent = beta / (alpha + beta)
        return Frontier(scale=gain ** (1 / (alpha + beta)) * 6**-exponent, exponent=exponent)

    def best_loss(self, flops: ArrayLike) -> Floats:
        """Return the loss of the compute-optimal run of each budget in FLOP."""
        best = self.frontier()
        return self.loss(best.num_parameters(flops), best.num_tokens(flops))


def six_nd(num_parameters: float, num_tokens: float) -> float:
    """Return the rule of thumb for the compute of training, ``C = 6 N D`` FLOP.

    Each parameter multiplies and adds once a token going forward (2 FLOP) and twice going back, once for the gradient
    of its input and once for its own. Attention scores, norms and the embedding lookup are left out; see
    `flops_per_token` for the exact count.

    Example:
        >>> f"{six_nd(175e9, 300e9):.3g}"  # GPT-3
        '3.15e+23'
    """
    if not (math.isfinite(num_parameters * num_tokens) and min(num_parameters, num_tokens) > 0):
        raise ValueError(f"six_nd needs positive finite numbers, got {num_parameters!r} and {num_tokens!r}.")
    return 6.0 * num_parameters * num_tokens
