"""The gold reward: what a story is truly worth, by a program that reads it. Known exactly, never learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from course_lib.alignment.stories.instructions import Instruction, follows
from course_lib.alignment.stories.told import told
from course_lib.data.tales import grade


@dataclass(frozen=True, slots=True, kw_only=True)
class TasteWeights:
    """What a rater likes in a story, and how much.

    A text begins at -1 and gets the share of its sentences that are right, from 0 to 1. The rest is added to that. How
    the hero acts and how it ends is taken from sentences that the grammar knows, see `told`, so that nonsense earns
    nothing; of two that contradict each other the less liked counts.

    Args:
        whole: For being a whole tale: nothing wrong, nothing left out.
        kind: If the hero helps at once.
        sorry: If the hero is unkind first and makes it good.
        unkind: If the hero does not help.
        well: If the wish comes true.
        gently: If something smaller is enough.
        badly: If the story ends badly.
        following: For doing all that an instruction asks for, where there is one; in part for a part.

    Raises:
        ValueError: If one is not finite.

    Example:
        >>> TasteWeights().best, TasteWeights(kind=-1.0).best  # who likes no kindness is best served by the sorry
        (2.0, 1.5)
    """

    whole: float = 0.5
    kind: float = 1.0
    sorry: float = 0.5
    unkind: float = 0.0
    well: float = 0.5
    gently: float = 0.25
    badly: float = 0.0
    following: float = 1.0

    def __post_init__(self) -> None:
        if bad := [field.name for field in fields(self) if not math.isfinite(getattr(self, field.name))]:
            raise ValueError(f"every weight of a taste must be finite, got {bad[0]}={getattr(self, bad[0])}.")

    @property
    def best(self) -> float:
        """What the best story is worth where nothing was asked for."""
        return self.whole + max(self.kind, self.sorry, self.unkind) + max(self.well, self.gently, self.badly)


def story_taste(
    texts: Sequence[str], instructions: Sequence[Instruction] | None = None, *, weights: TasteWeights | None = None
) -> Tensor:
    """Return what each story is truly worth: its **gold reward**.

    A learnt reward is a proxy for what somebody wants. In the world the wish itself cannot be written down; here it
    can, so that the proxy may be held against it. Length has no part in it, beyond that more can go wrong.

    Args:
        texts: Any texts.
        instructions: What each of them answers, if it was asked for something.
        weights: What is liked; see `TasteWeights`.

    Shape:
        - output: ``(N,)``, float64

    Returns:
        With the usual weights from -1 (no sentence is right, or the text is empty) to 2 (a whole tale, the hero is
        kind, the wish comes true), with instructions to 3; 0.5 for a whole tale in which nobody helps and nothing comes
        of the wish. Never raises for what a text says.

    Raises:
        ValueError: If ``texts`` is one text and no sequence of them, or there is not one instruction each.

    Example:
        >>> from course_lib.data import tales
        >>> tale = tales(1, seed=7)[0]
        >>> (tale.kindness, tale.ending), story_taste([tale.text, tale.text[:40], ""]).tolist()
        (('kind', 'well'), [2.0, -1.0, -1.0])
    """
    if isinstance(texts, str):
        raise ValueError("story_taste takes a list of texts: write story_taste([text]) for one.")
    weights = TasteWeights() if weights is None else weights
    worth = torch.tensor([_worth(text, weights) for text in texts], dtype=torch.float64)
    if instructions is None:
        return worth
    if len(instructions) != len(texts):
        raise ValueError(
            f"each text answers one instruction, got {len(texts)} texts, {len(instructions)} instructions."
        )
    shares = [follows(text, instruction).share for text, instruction in zip(texts, instructions, strict=True)]
    return worth + weights.following * torch.tensor(shares, dtype=torch.float64)


@lru_cache(maxsize=2**15)  # raters judge the same stories again and again
def _worth(text: str, weights: TasteWeights) -> float:
    graded, tells = grade(text), told(text)
    worth = graded.share - 1 + (weights.whole if graded.tale is not None else 0.0)
    for attribute in ("kindness", "ending"):
        worth += min((float(getattr(weights, value)) for value in tells[attribute]), default=0.0)
    return worth
