"""Written principles about stories, and small sets of labelled cases from which a judge learns to apply them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from course_lib.data.tales import Tale, tales

Aspect = Literal["kindness", "ending", "length"]

_WRITTEN: dict[str, tuple[Aspect, str]] = {
    "The hero helps at once whoever is in need.": ("kindness", "kind"),
    "The hero never helps.": ("kindness", "unkind"),
    "The hero is sorry and helps later.": ("kindness", "sorry"),
    "The story ends well: the wish comes true.": ("ending", "well"),
    "The story ends gently: something smaller is enough.": ("ending", "gently"),
    "The story ends badly.": ("ending", "badly"),
    "The story is short.": ("length", "short"),
    "The story is long.": ("length", "long"),
}
_SPARE = 500  # more stories than cases: one in twenty is long
_MOST_PER_CASE = 40


@dataclass(frozen=True, slots=True)
class Principle:
    """What somebody wants of a story, in words, and what it means, for those who may know.

    The truth (``aspect`` and ``value``) labels a few cases and measures a judge; it is never what a judge goes by.

    Args:
        text: The principle as written, such as ``"The story ends badly."``.
        aspect: The attribute of a `Tale` that it is about.
        value: What that should be.
    """

    text: str
    aspect: Aspect
    value: str

    def holds(self, tale: Tale) -> bool:
        """Return whether ``tale`` keeps to this principle."""
        return bool(getattr(tale, self.aspect) == self.value)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One labelled case.

    Args:
        principle: What was asked about.
        story: A tale's text.
        keeps: Whether the story keeps to the principle: the truth.
    """

    principle: Principle
    story: str
    keeps: bool


def written_principles(*, aspect: Aspect | None = None) -> list[Principle]:
    """Return the principles there are: one for each kindness and ending, and for short and long.

    Args:
        aspect: Only those about this.

    Raises:
        ValueError: If ``aspect`` is unknown.

    Example:
        >>> [principle.text for principle in written_principles(aspect="length")]
        ['The story is short.', 'The story is long.']
    """
    known = sorted({about for about, _ in _WRITTEN.values()})
    if aspect is not None and aspect not in known:
        raise ValueError(f"aspect must be one of {', '.join(known)}, or None for all, got {aspect!r}.")
    return [Principle(text, about, value) for text, (about, value) in _WRITTEN.items() if aspect in (None, about)]


def judgements(
    num: int, *, seed: int, principles: Sequence[Principle], split: Literal["train", "evaluation"] = "train"
) -> list[Judgement]:
    """Draw labelled cases: principles in turn, each with a story that keeps to it half of the time.

    Args:
        num: How many in all.
        seed: Decides which.
        principles: What is asked about, from `written_principles`.
        split: Of the stories. No training story is an evaluation story.

    Returns:
        Cases of which half are to be answered by yes, whatever the principle: chance is 0.5. No principle is asked
        twice about a story.

    Raises:
        ValueError: If ``num`` is negative, there are no principles, or hardly any story keeps to one or breaks it.

    Example:
        >>> case = judgements(1, seed=0, principles=written_principles(aspect="kindness"))[0]
        >>> case.principle.value, case.keeps
        ('kind', False)
    """
    if num < 0 or not principles:
        raise ValueError(f"judgements needs num >= 0 and at least one principle, got {num} and {len(principles)}.")
    rng = random.Random(seed)
    asked = [(principles[index % len(principles)], rng.random() < 0.5) for index in range(num)]
    pool = tales(num + _SPARE, seed=seed, split=split)
    stories: dict[tuple[Principle, bool], Iterator[str]] = {}
    for (principle, keeps), wanted in Counter(asked).items():
        texts = _about(pool, principle, keeps)
        if len(texts) < wanted:  # a rare kind, such as long stories: the same ones again, and more of them
            texts = _about(tales(_MOST_PER_CASE * wanted + _SPARE, seed=seed, split=split), principle, keeps)
        if len(texts) < wanted:
            kind = "keep to" if keeps else "break"
            raise ValueError(f"too few stories {kind} {principle}: found {len(texts)} of {wanted}.")
        stories[principle, keeps] = iter(texts)
    return [Judgement(principle, next(stories[principle, keeps]), keeps) for principle, keeps in asked]


def _about(pool: Sequence[Tale], principle: Principle, keeps: bool) -> list[str]:
    return list(dict.fromkeys(tale.text for tale in pool if principle.holds(tale) == keeps))
