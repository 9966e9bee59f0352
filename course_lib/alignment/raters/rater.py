"""A simulated rater: compares two texts by a known taste, with known noise and, if wanted, a weakness for length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor

from course_lib.alignment.raters.annotators import MISSING

Taste = Callable[..., Tensor]  # (texts) -> (N,), or (texts, prompts) -> (N,) where the worth depends on what was asked

# Shape letters used in this file: N = pairs, R = raters.


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedRater:
    """Prefers the first of two texts with the probability that Bradley and Terry's model gives it.

    ``P(first) = sigmoid((taste(first) - taste(second) + length_bias * (words of first - words of second)) /
    temperature)``. People's answers are noisy in about this way: clear cases are agreed on, near ties are tosses. As
    the probability is known, so is how well anybody could predict this rater.

    Args:
        taste: What texts are worth; `course_lib.alignment.story_taste`, say.
        temperature: The noise, in units of taste: at a difference of one temperature the better one wins 73 %.
        length_bias: How much taste each word is worth. Reviewers of text do tend to take longer for better.
        lapse_rate: How often an answer is tossed without looking: 1 is somebody who clicks at random.

    Raises:
        ValueError: If the temperature is not positive, the bias not finite, or the lapse rate not from 0 to 1; when
            called, if the two lists differ in length or the taste does not give one finite number for each text.

    Example:
        >>> by_capitals = SimulatedRater(lambda texts: torch.tensor([float(text.isupper()) for text in texts]))
        >>> by_capitals.probability(["AB", "ab"], ["cd", "cd"])
        tensor([0.7311, 0.5000], dtype=torch.float64)
        >>> by_capitals.compare(["AB"] * 5, ["cd"] * 5, generator=torch.Generator().manual_seed(0))
        tensor([False,  True,  True, False,  True])
        >>> round(by_capitals.ceiling(["AB", "ab"], ["cd", "cd"]), 4)  # the mean of 0.73 and 0.5
        0.6155

    Reference: Bradley and Terry 1952, Rank analysis of incomplete block designs, Biometrika 39; for noisy simulated
    raters Stiennon et al. 2020, https://arxiv.org/abs/2009.01325; for length Singhal et al. 2023, A long way to go:
    investigating length correlations in RLHF, https://arxiv.org/abs/2310.03716
    """

    taste: Taste
    _: KW_ONLY
    temperature: float = 1.0
    length_bias: float = 0.0
    lapse_rate: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}; nearly 0 has no noise.")
        if not math.isfinite(self.length_bias):
            raise ValueError(f"length_bias must be finite, got {self.length_bias}.")
        if not 0 <= self.lapse_rate <= 1:
            raise ValueError(f"lapse_rate must lie in [0, 1], got {self.lapse_rate}.")

    def worth(self, texts: Sequence[str], *, prompts: Sequence[Any] | None = None) -> Tensor:
        """Return what this rater goes by, before noise: taste and length, over temperature; ``(N,)``, float64."""
        taste = self.taste(texts) if prompts is None else self.taste(texts, prompts)
        if taste.shape != (len(texts),) or not taste.isfinite().all():
            raise ValueError(
                f"a taste must give one finite number for each of {len(texts)} texts, got {tuple(taste.shape)} with "
                f"{int((~taste.isfinite()).sum())} of them not finite."
            )
        words = torch.tensor([len(text.split()) for text in texts], dtype=torch.float64)
        return (taste.double().cpu() + self.length_bias * words) / self.temperature

    def probability(
        self, first: Sequence[str], second: Sequence[str], *, prompts: Sequence[Any] | None = None
    ) -> Tensor:
        """Return how likely the first of each pair is to be preferred.

        Args:
            first: Texts.
            second: As many others.
            prompts: What each pair answers, if the taste asks for it.

        Shape:
            - output: ``(N,)``, float64
        """
        if len(first) != len(second):
            raise ValueError(f"pairs need as many first texts as second ones, got {len(first)} and {len(second)}.")
        looked = (self.worth(first, prompts=prompts) - self.worth(second, prompts=prompts)).sigmoid()
        return (1 - self.lapse_rate) * looked + self.lapse_rate / 2

    def compare(
        self,
        first: Sequence[str],
        second: Sequence[str],
        *,
        generator: torch.Generator,
        prompts: Sequence[Any] | None = None,
    ) -> Tensor:
        """Return whether the first of each pair is preferred, ``(N,)`` bool: one answer drawn for each.

        Args:
            first: Texts.
            second: As many others.
            generator: Of the noise.
            prompts: As for `probability`.
        """
        probability = self.probability(first, second, prompts=prompts)
        drawn = torch.rand(len(probability), dtype=torch.float64, generator=generator, device=generator.device)
        return drawn.cpu() < probability

    def ceiling(self, first: Sequence[str], second: Sequence[str], *, prompts: Sequence[Any] | None = None) -> float:
        """Return the best accuracy anybody can expect when predicting this rater on these pairs.

        Whoever knows the probabilities and always names the likelier one is right ``max(p, 1 - p)`` of the time: from
        0.5 for a rater who tosses to 1 for one without noise. More data does not help beyond it.
        """
        probability = self.probability(first, second, prompts=prompts)
        _check_pairs(probability)
        return float(torch.maximum(probability, 1 - probability).mean())

    def loss_floor(self, first: Sequence[str], second: Sequence[str], *, prompts: Sequence[Any] | None = None) -> float:
        """Return the lowest mean cross-entropy anybody can expect on these pairs: the noise's entropy, in nats.

        From 0 for a rater without noise to ``log(2)`` for one who tosses.
        """
        probability = self.probability(first, second, prompts=prompts)
        _check_pairs(probability)
        return float((torch.special.entr(probability) + torch.special.entr(1 - probability)).mean())


def annotate(
    raters: Sequence[SimulatedRater],
    first: Sequence[str],
    second: Sequence[str],
    *,
    generator: torch.Generator,
    coverage: float = 1.0,
) -> Tensor:
    """Ask several raters about the same pairs.

    Args:
        raters: Who is asked; of unequal skill, usually.
        first: Texts.
        second: As many others.
        generator: Of everybody's noise, and of who is asked about what.
        coverage: How likely a rater is to be asked about a pair.

    Shape:
        - output: ``(N, R)``, int64

    Returns:
        1 where a rater preferred the first text, 0 where the second, -1 where not asked: as `dawid_skene` takes it.

    Raises:
        ValueError: If there are no raters or ``coverage`` is not above 0 and at most 1.

    Example:
        >>> by_length = SimulatedRater(lambda texts: torch.tensor([float(len(text)) for text in texts]))
        >>> asleep = SimulatedRater(by_length.taste, lapse_rate=1.0)
        >>> annotate([by_length, asleep], ["ten words"] * 3, ["one"] * 3, generator=torch.Generator().manual_seed(1))
        tensor([[1, 1],
                [1, 0],
                [1, 1]])
    """
    if not raters:
        raise ValueError("annotate needs at least one rater, got none.")
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be above 0 and at most 1, got {coverage}.")
    answers = torch.stack([rater.compare(first, second, generator=generator) for rater in raters], dim=1).long()
    asked = torch.rand(answers.shape, generator=generator, device=generator.device).cpu() < coverage
    return answers.where(asked, torch.tensor(MISSING))


def _check_pairs(probability: Tensor) -> None:
    if len(probability) == 0:
        raise ValueError("there are no pairs: nothing to predict.")
