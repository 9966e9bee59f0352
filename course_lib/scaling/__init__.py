"""Predicting a training run before paying for it: accounting, scaling laws, their fits, and plans."""

from course_lib.scaling.accounting import ParameterCount, flops_per_token, forward_flops, num_parameters
from course_lib.scaling.allocation import (
    Lifetime,
    cheapest_lifetime,
    effective_tokens,
    lifetime_of,
    tokens_for_loss,
)
from course_lib.scaling.assumptions import GRIDS, HOME_KWH, Assumptions
from course_lib.scaling.bootstrap import Bootstrap, bootstrap_chinchilla, coverage
from course_lib.scaling.chips import CHIPS, Chip, chip_of, measured_peak, mfu
from course_lib.scaling.counting import frontier_without_embeddings
from course_lib.scaling.fits import fit_chinchilla, fit_kaplan, fit_power_law
from course_lib.scaling.frontier_fits import (
    Envelope,
    IsoFlop,
    TrainingCurve,
    envelope,
    fit_frontier,
    fit_isoflops,
)
from course_lib.scaling.known_runs import KNOWN_RUNS, KnownRun
from course_lib.scaling.laws import ChinchillaLaw, Frontier, KaplanLaw, PowerLaw, six_nd
from course_lib.scaling.memory import MemoryUse, activation_bytes, kv_cache_bytes_per_token, training_memory
from course_lib.scaling.planner import Plan, plan_run
from course_lib.scaling.published import (
    BESIROGLU_2024,
    FRONTIERS,
    HOFFMANN_2022,
    KAPLAN_2020,
    LAWS,
    PublishedFrontier,
    PublishedLaw,
)
from course_lib.scaling.sources import Source, Sourced

__all__ = [
    "BESIROGLU_2024",
    "CHIPS",
    "FRONTIERS",
    "GRIDS",
    "HOFFMANN_2022",
    "HOME_KWH",
    "KAPLAN_2020",
    "KNOWN_RUNS",
    "LAWS",
    "Assumptions",
    "Bootstrap",
    "ChinchillaLaw",
    "Chip",
    "Envelope",
    "Frontier",
    "IsoFlop",
    "KaplanLaw",
    "KnownRun",
    "Lifetime",
    "MemoryUse",
    "ParameterCount",
    "Plan",
    "PowerLaw",
    "PublishedFrontier",
    "PublishedLaw",
    "Source",
    "Sourced",
    "TrainingCurve",
    "activation_bytes",
    "bootstrap_chinchilla",
    "cheapest_lifetime",
    "chip_of",
    "coverage",
    "effective_tokens",
    "envelope",
    "fit_chinchilla",
    "fit_frontier",
    "fit_isoflops",
    "fit_kaplan",
    "fit_power_law",
    "flops_per_token",
    "forward_flops",
    "frontier_without_embeddings",
    "kv_cache_bytes_per_token",
    "lifetime_of",
    "measured_peak",
    "mfu",
    "num_parameters",
    "plan_run",
    "six_nd",
    "tokens_for_loss",
    "training_memory",
]
