"""How sure a fit is: refit it to samples of the runs drawn with replacement, and see how far it moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from course_lib.scaling._inputs import columns
from course_lib.scaling.fits import fit_chinchilla
from course_lib.scaling.laws import ChinchillaLaw

FEWEST = 8  # runs, or groups of them; of five, every sample that determines a law is the same five


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A fit and its refits.

    Args:
        law: The fit to all runs.
        refits: One law a sample.
    """

    law: ChinchillaLaw
    refits: tuple[ChinchillaLaw, ...]

    def interval(self, name: str, confidence: float = 0.9) -> tuple[float, float]:
        """Return the central share ``confidence`` of the refits' values, the percentile interval.

        Args:
            name: A field of `ChinchillaLaw`, or ``"frontier_exponent"`` for ``beta / (alpha + beta)``.
            confidence: Nominal coverage.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}.")
        known = [field.name for field in fields(ChinchillaLaw)]
        if name not in [*known, "frontier_exponent"]:
            raise ValueError(f"no value called {name!r}; there are {', '.join(known)} and frontier_exponent.")
        if name == "frontier_exponent":
            values = [refit.frontier().exponent for refit in self.refits]
        else:
            values = [float(getattr(refit, name)) for refit in self.refits]
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def loss_interval(self, num_parameters: float, num_tokens: float, confidence: float = 0.9) -> tuple[float, float]:
        """Return the interval of the law's loss at one size and length: the law's doubt, not a further run's noise."""
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}.")
        losses = [float(refit.loss(num_parameters, num_tokens)) for refit in self.refits]
        low, high = np.quantile(losses, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def bootstrap_chinchilla(
    num_parameters: ArrayLike,
    num_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    seed: int,
    num_samples: int = 100,
    groups: ArrayLike | None = None,
    delta: float = 1e-3,
) -> Bootstrap:
    """Fit Chinchilla's law to the runs and to ``num_samples`` samples of them, each drawn with replacement.

    Each sample descends from the fit to all runs. The 5th and 95th percentile of the refits hold the truth in about
    90 % of experiments if the runs scatter independently about the law; a law of the wrong form has no such interval.
    A sample with fewer than five different runs determines no law and is drawn anew, which with few runs makes the
    intervals too narrow: 20 or more are a fair number.

    Args:
        num_parameters: One entry a run.
        num_tokens: Tokens each run has seen.
        loss: Final losses, nats a token.
        seed: Of the samples.
        num_samples: 100 give an interval to about a tenth of its length; 1,000 are better for publication.
        groups: A label a run. Runs that share something, such as the trunk that several were branched off from, do
            not scatter independently: whole groups are drawn then.
        delta: As for `fit_chinchilla`.

    Raises:
        ValueError: As `fit_chinchilla`, or if there are fewer than two samples or eight groups.

    Example:
        >>> truth = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
        >>> n, d = np.repeat([1e8, 1e9, 1e10], 3), np.tile([1e9, 1e10, 1e11], 3)
        >>> noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(9))
        >>> boot = bootstrap_chinchilla(n, d, truth.loss(n, d) * noise, seed=0, num_samples=10)
        >>> low, high = boot.interval("irreducible")
        >>> low < high
        True

    Reference: Efron 1979, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7
    """
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2, got {num_samples}.")
    n, d, losses = columns(5, num_parameters=num_parameters, num_tokens=num_tokens, loss=loss)
    labels = np.arange(len(n)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if labels.shape != n.shape or (num_groups := int(labels.max()) + 1) < FEWEST:
        raise ValueError(
            f"a bootstrap needs at least {FEWEST} runs, or one label for each of {len(n)} runs with at least {FEWEST} "
            "different ones."
        )
    law = fit_chinchilla(n, d, losses, delta=delta)
    rng = np.random.default_rng(seed)
    refits: list[ChinchillaLaw] = []
    while len(refits) < num_samples:
        counts = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)[labels]
        if np.count_nonzero(counts) >= 5:  # fewer runs than parameters determine no law
            refits.append(fit_chinchilla(n, d, losses, weights=counts, start=law, delta=delta))
    return Bootstrap(law, tuple(refits))


def coverage(
    law: ChinchillaLaw,
    num_parameters: ArrayLike,
    num_tokens: ArrayLike,
    *,
    noise: float,
    seeds: Iterable[int],
    confidence: float = 0.9,
    num_samples: int = 100,
) -> dict[str, list[bool]]:
    """Simulate experiments that obey a law, and return for each whether the interval holds the truth.

    The losses of a simulation are the law's times ``exp(noise * normal)``, independently.

    Args:
        law: The truth.
        num_parameters: Of the runs of one experiment.
        num_tokens: Of the runs of one experiment.
        noise: Standard deviation of the logarithm of the loss.
        seeds: One a simulation.
        confidence: Nominal coverage.
        num_samples: Of each bootstrap.

    Returns:
        For each value that `Bootstrap.interval` knows, a list with one entry a simulation. An honest interval is right
        in about ``confidence`` of them; of 200 simulations at 0.9, in 171 to 189 with 99 % probability.

    Raises:
        ValueError: If ``noise`` is not positive, or as `bootstrap_chinchilla`.

    Example:
        >>> truth = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
        >>> n, d = np.repeat([1e8, 1e9, 1e10], 3), np.tile([1e9, 1e10, 1e11], 3)
        >>> held = coverage(truth, n, d, noise=0.01, seeds=[0], num_samples=10)
        >>> sorted(held)[:3]
        ['frontier_exponent', 'irreducible', 'parameter_coefficient']
    """
    if not 0 < noise < np.inf:
        raise ValueError(f"noise must be positive and finite, got {noise!r}.")
    n, d = columns(5, num_parameters=num_parameters, num_tokens=num_tokens)
    truth = {field.name: float(getattr(law, field.name)) for field in fields(law)}
    truth["frontier_exponent"] = law.frontier().exponent
    held: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in seeds:
        scatter = np.exp(noise * np.random.default_rng([seed, 1]).standard_normal(len(n)))
        boot = bootstrap_chinchilla(n, d, law.loss(n, d) * scatter, seed=seed, num_samples=num_samples)
        for name, value in truth.items():
            low, high = boot.interval(name, confidence)
            held[name].append(low <= value <= high)
    return held
