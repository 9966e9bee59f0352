"""What has been published: coefficients of the laws, and where each puts the best size for a budget."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.scaling.laws import ChinchillaLaw, Frontier, KaplanLaw
from course_lib.scaling.sources import Source

PETAFLOP_S_DAY = 8.64e19  # FLOP, Kaplan's unit of compute
GOPHER_FLOPS = 5.76e23  # the budget at which Hoffmann compares

_KAPLAN = Source("Scaling laws for neural language models", "Kaplan et al.", "2020", "https://arxiv.org/abs/2001.08361")
_HOFFMANN = Source(
    "Training compute-optimal large language models", "Hoffmann et al.", "2022", "https://arxiv.org/abs/2203.15556"
)
_BESIROGLU = Source(
    "Chinchilla scaling: a replication attempt", "Besiroglu et al.", "2024", "https://arxiv.org/abs/2404.10102"
)
_MUENNIGHOFF = Source(
    "Scaling data-constrained language models", "Muennighoff et al.", "2023", "https://arxiv.org/abs/2305.16264"
)


@dataclass(frozen=True, slots=True)
class PublishedLaw:
    """A fitted law, and what to know before using it.

    Args:
        law: With the published coefficients.
        source: The paper.
        note: How it was fitted, and what is known against it.
    """

    law: ChinchillaLaw | KaplanLaw
    source: Source
    note: str


@dataclass(frozen=True, slots=True)
class PublishedFrontier:
    """A published rule for the best size of a budget.

    Args:
        frontier: The rule.
        source: The paper.
        note: Which of its approaches, what counts as a parameter, and how the scale was taken from it.
    """

    frontier: Frontier
    source: Source
    note: str


KAPLAN_2020 = KaplanLaw(6.4e13, 1.8e13, 0.076, 0.103)
HOFFMANN_2022 = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
BESIROGLU_2024 = ChinchillaLaw(1.8172, 482.01, 2085.43, 0.3478, 0.3658)

LAWS: dict[str, PublishedLaw] = {
    "Kaplan 2020": PublishedLaw(
        KAPLAN_2020,
        _KAPLAN,
        "table 2, the fit to both variables together; alone they give alpha_N 0.076 with N_c 8.8e13, and alpha_D 0.095 "
        "with D_c 5.4e13. N leaves embeddings out.",
    ),
    "Hoffmann 2022": PublishedLaw(
        HOFFMANN_2022,
        _HOFFMANN,
        "approach 3 as printed, rounded; its optimiser had stopped early, and it disagrees with approaches 1 and 2.",
    ),
    "Hoffmann 2022, unrounded": PublishedLaw(
        ChinchillaLaw(1.6934, 406.4, 410.7, 0.3392, 0.2849),
        _HOFFMANN,
        "approach 3 with the digits in the paper's TeX source, as reported by Besiroglu et al. 2024.",
    ),
    "Besiroglu 2024": PublishedLaw(
        BESIROGLU_2024,
        _BESIROGLU,
        "Hoffmann's form fitted anew to 240 runs read off the paper's figure; standard errors 0.03, 124.58, 1293.23, "
        "0.02 and 0.02.",
    ),
    "Muennighoff 2023": PublishedLaw(
        ChinchillaLaw(1.8691, 520.82, 1487.7, 0.35266, 0.35266),
        _MUENNIGHOFF,
        "web text (C4), fresh data, with one exponent for both; rounded from the logarithms in the published code.",
    ),
}

FRONTIERS: dict[str, PublishedFrontier] = {
    "Kaplan 2020": PublishedFrontier(
        Frontier(scale=1.3e9 * PETAFLOP_S_DAY**-0.73, exponent=0.73),
        _KAPLAN,
        "table 6: 1.3e9 parameters without embeddings for each petaFLOP/s-day to the power of 0.73.",
    ),
    "Hoffmann 2022, curves": PublishedFrontier(
        Frontier(scale=67e9 * GOPHER_FLOPS**-0.50, exponent=0.50),
        _HOFFMANN,
        "approach 1, table 2 for the exponent; scaled to go through its 67 billion parameters at Gopher's budget.",
    ),
    "Hoffmann 2022, IsoFLOP": PublishedFrontier(
        Frontier(scale=63e9 * GOPHER_FLOPS**-0.49, exponent=0.49),
        _HOFFMANN,
        "approach 2, table 2 for the exponent; scaled to go through its 63 billion parameters at Gopher's budget.",
    ),
    "Hoffmann 2022, parametric": PublishedFrontier(
        HOFFMANN_2022.frontier(),
        _HOFFMANN,
        "approach 3, from the printed coefficients; table 2 gives an exponent of 0.46.",
    ),
    "Besiroglu 2024": PublishedFrontier(
        BESIROGLU_2024.frontier(),
        _BESIROGLU,
        "from the corrected coefficients: exponent 0.51, about 20 tokens a parameter at Gopher's budget.",
    ),
}
