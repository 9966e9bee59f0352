"""How what counts as a parameter bends a scaling exponent: one reason why Kaplan and Hoffmann disagree."""

from __future__ import annotations

import math
from collections.abc import Callable

from numpy.typing import ArrayLike

from course_lib.scaling._inputs import positive
from course_lib.scaling.frontier_fits import fit_frontier
from course_lib.scaling.laws import ChinchillaLaw, Frontier


def frontier_without_embeddings(
    law: ChinchillaLaw, embedding_parameters: Callable[[float], float], flops: ArrayLike
) -> Frontier:
    """Return the frontier that somebody finds who leaves embeddings out of N and of C, where ``law`` counts them in.

    For each budget ``C = 6 N D`` the loss ``law(N + embedding_parameters(N), D)`` is minimised over N, and a power law
    is fitted to the sizes found. In small models embeddings are most of the parameters, so N grows faster than the
    whole model does, and the exponent comes out larger than the law's own; over large budgets it is the same.

    Args:
        law: Of the loss, over all parameters.
        embedding_parameters: Maps the other parameters to those of the embeddings in a model of that size.
        flops: Two or more budgets; the range decides what comes out.

    Raises:
        ValueError: If a budget is not positive, or there is one only.

    Example:
        >>> from course_lib.scaling import BESIROGLU_2024
        >>> tables = lambda others: 47491 * others ** (1 / 3)  # 50,000 tokens, width as the cube root of the size
        >>> small, large = [1e15, 1e17, 1e19], [1e21, 1e23, 1e25]
        >>> [round(frontier_without_embeddings(BESIROGLU_2024, tables, c).exponent, 2) for c in (small, large)]
        [0.8, 0.52]
        >>> round(BESIROGLU_2024.frontier().exponent, 2)
        0.51

    Reference: Pearce and Song 2024, "Reconciling Kaplan and Chinchilla scaling laws",
    https://arxiv.org/abs/2406.12907; Porian et al. 2024, "Resolving discrepancies in compute-optimal scaling of
    language models", which finds warmup and tuning to matter besides, https://arxiv.org/abs/2406.19146
    """
    from scipy.optimize import minimize_scalar

    budgets = positive("flops", flops).ravel()
    sizes = []
    for budget in budgets:

        def loss(log_n: float, budget: float = float(budget)) -> float:
            others = math.exp(log_n)
            return float(law.loss(others + embedding_parameters(others), budget / (6 * others)))

        top = math.log(float(budget) / 6)  # at least one token
        found = minimize_scalar(loss, bounds=(0.0, top), method="bounded", options={"xatol": 1e-10})
        sizes.append(math.exp(float(found.x)))
    return fit_frontier(budgets, sizes)
