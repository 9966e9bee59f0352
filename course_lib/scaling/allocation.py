"""Where the optimum moves: when the model will also be used, and when the data must be repeated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.scaling._inputs import positive
from course_lib.scaling.laws import ChinchillaLaw

HALF_LIFE_OF_TOKENS = 15.387756  # R*_D of Muennighoff et al. 2023, as in the code published with the paper


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A model of a given loss, and what training and using it takes.

    Args:
        num_parameters: N.
        num_tokens: D, tokens of training.
        training_flops: 6 N D.
        inference_flops: 2 N a token served.
    """

    num_parameters: float
    num_tokens: float
    training_flops: float
    inference_flops: float

    @property
    def flops(self) -> float:
        """Training and inference together."""
        return self.training_flops + self.inference_flops


def tokens_for_loss(law: ChinchillaLaw, num_parameters: float, loss: float) -> float:
    """Return the tokens after which a model of this size has this loss.

    Raises:
        ValueError: If no number of tokens gets it there: the message says how low this size can go.

    Example:
        >>> law = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
        >>> round(tokens_for_loss(law, 70e9, float(law.loss(70e9, 1.4e12))) / 1e12, 3)
        1.4
    """
    too_small = law.parameter_coefficient * float(positive("num_parameters", num_parameters)) ** -law.parameter_exponent
    left = loss - law.irreducible - too_small
    if not left > 0:
        raise ValueError(
            f"{num_parameters:.3g} parameters stay above {law.irreducible + too_small:.4g} nats however long they are "
            f"trained; asked for {loss:.4g}: take a larger model or a higher loss."
        )
    return float((law.token_coefficient / left) ** (1 / law.token_exponent))


def lifetime_of(law: ChinchillaLaw, num_parameters: float, *, loss: float, served_tokens: float) -> Lifetime:
    """Return what a model of this size takes over its life to reach ``loss`` and serve ``served_tokens``.

    Raises:
        ValueError: As `tokens_for_loss`, or if ``served_tokens`` is negative.
    """
    if not 0 <= served_tokens < math.inf:
        raise ValueError(f"served_tokens must be finite and at least 0, got {served_tokens!r}.")
    tokens = tokens_for_loss(law, num_parameters, loss)
    return Lifetime(num_parameters, tokens, 6 * num_parameters * tokens, 2 * num_parameters * served_tokens)


def cheapest_lifetime(law: ChinchillaLaw, *, loss: float, served_tokens: float) -> Lifetime:
    """Return the size with the least compute over training and use, among those that reach ``loss``.

    Minimises ``6 N D + 2 N D_served`` over N, with D such that the loss is met. A token served costs a third of one
    trained on, since it needs no backward pass. The more is served, the smaller and the longer trained the model.
    FLOP are not prices: serving runs at a lower utilisation than training, which moves the optimum further.

    Args:
        law: Of the loss.
        loss: To be reached, in nats a token; above the law's irreducible part.
        served_tokens: Read and written over the model's life; 0 gives the compute-optimal model of this loss.

    Raises:
        ValueError: If no model reaches the loss, or ``served_tokens`` is negative.

    Example:
        >>> law = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
        >>> once, served = (cheapest_lifetime(law, loss=2.0, served_tokens=tokens) for tokens in (0, 1e13))
        >>> served.num_parameters < once.num_parameters, served.num_tokens > once.num_tokens
        (True, True)

    Reference: Sardana et al. 2024, "Beyond Chinchilla-optimal: accounting for inference in language model scaling
    laws", eq. 2, https://arxiv.org/abs/2401.00448
    """
    from scipy.optimize import minimize_scalar

    if not law.irreducible < loss < math.inf:
        raise ValueError(f"loss must be finite and above the law's {law.irreducible:.4g} nats, got {loss:.4g}.")
    law.frontier()  # refuses exponents without an optimum
    smallest = (law.parameter_coefficient / (loss - law.irreducible)) ** (1 / law.parameter_exponent)

    def log_cost(log_n: float) -> float:
        return math.log(lifetime_of(law, math.exp(log_n), loss=loss, served_tokens=served_tokens).flops)

    low = math.log(smallest)
    found = minimize_scalar(log_cost, bounds=(low + 1e-6, low + 30), method="bounded", options={"xatol": 1e-10})
    return lifetime_of(law, math.exp(float(found.x)), loss=loss, served_tokens=served_tokens)


def effective_tokens(
    unique_tokens: ArrayLike, epochs: ArrayLike, *, half_life: float = HALF_LIFE_OF_TOKENS
) -> NDArray[np.float64]:
    """Return how many fresh tokens ``epochs`` passes over ``unique_tokens`` are worth.

    ``D' = U + U R* (1 - exp(-R / R*))`` with ``R = epochs - 1`` repetitions: the first passes are worth almost as much
    as fresh data, and after R* repetitions each is worth 1/e of a fresh one; all of them together never more than
    ``1 + R*`` times the data. (The paper calls R* a half-life, though it is the time of a decay to 1/e.)

    Args:
        unique_tokens: U, tokens that are different.
        epochs: Passes over them, 1 or more; fractions are allowed.
        half_life: R*, by default as fitted to runs of up to 9 billion parameters on web text.

    Raises:
        ValueError: If a value is not positive, or ``epochs`` is less than 1.

    Example:
        >>> [round(float(effective_tokens(1.0, epochs)), 2) for epochs in (1, 4, 16, 64)]
        [1.0, 3.73, 10.58, 16.13]

    Reference: Muennighoff et al. 2023, "Scaling data-constrained language models", eq. 5,
    https://arxiv.org/abs/2305.16264
    """
    unique, passes = positive("unique_tokens", unique_tokens), positive("epochs", epochs)
    if (passes < 1).any():
        raise ValueError(f"epochs must be at least 1, got {float(passes.min()):g}: with less, the tokens are unique.")
    decay = float(positive("half_life", half_life))
    return np.asarray(unique * (1 - decay * np.expm1(-(passes - 1) / decay)))
