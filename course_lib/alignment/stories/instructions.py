"""Requests for stories in many wordings, demonstrations that fulfil them, and a program that checks who did."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from course_lib.alignment.stories.styles import Style, in_style, without_style
from course_lib.alignment.stories.told import ATTRIBUTES, told
from course_lib.data.tales import Tale, grade, instruction, tales
from course_lib.data.tales.tale import Attribute

Split = Literal["train", "evaluation"]
Conversation = list[dict[str, str]]

_ONE_IN = 4  # so many pairs of hero and wish are kept for evaluation
_FEWEST, _MOST = 2, 4  # attributes that a request names
_WORDINGS = {
    "Tell a story about": (
        "Tell a story about",
        "Tell me a story about",
        "Please tell me a story about",
        "I would like a story about",
        "Make up a story about",
    ),
    "It ends": ("It ends", "It should end", "Let it end"),
    "The hero is": ("The hero is", "The hero should be", "Let the hero be"),
    "Keep it short": ("Keep it short", "Make it short"),
    "Make it neither short nor long": ("Make it neither short nor long", "It should be of middle length"),
    "Make it long": ("Make it long", "It should be long"),
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """A request for a story.

    Args:
        text: What the user says.
        asked: The attributes it names, and what each should be: of "hero", "wish", "kindness", "ending", "length".

    Raises:
        ValueError: If it asks for anything else, which no program here could check.
    """

    text: str
    asked: Mapping[str, str]

    def __post_init__(self) -> None:
        if unknown := [name for name in self.asked if name not in ATTRIBUTES]:
            raise ValueError(f"an Instruction asks for some of {', '.join(ATTRIBUTES)}, got {unknown}.")


@dataclass(frozen=True, slots=True)
class Following:
    """How far a text does what was asked.

    Args:
        met: The attributes asked for that the text tells as asked.
        missed: The others: not told, told otherwise, or told in two ways.
        whole: Whether the text is a tale from beginning to end.
    """

    met: tuple[str, ...]
    missed: tuple[str, ...]
    whole: bool

    @property
    def share(self) -> float:
        """The share of what was asked for that was met, from 0 to 1; 1 if nothing was asked for."""
        asked = len(self.met) + len(self.missed)
        return len(self.met) / asked if asked else 1.0


def story_instructions(
    num: int, *, seed: int, split: Split = "train", ask: Sequence[Attribute] | None = None
) -> list[Instruction]:
    """Draw requests for stories: some attributes of a drawn tale, in one of many wordings.

    Because a tale is behind each, what is asked for goes together as it does in tales, and can be fulfilled. One in
    four pairs of hero and wish is kept for evaluation: no training request or demonstration has such a pair, even
    where it does not name it. The first of ``story_instructions(100, seed=0)`` are ``story_instructions(10, seed=0)``.

    Args:
        num: How many.
        seed: Decides which.
        split: "train" or "evaluation"; of tales and of pairs of hero and wish.
        ask: Attributes that every request names; by default each names two to four, drawn anew.

    Raises:
        ValueError: If ``num`` is negative, there is no such split, or ``ask`` names no attribute or an unknown one.

    Example:
        >>> request = story_instructions(1, seed=2)[0]
        >>> request.text
        'Make up a story about a monkey who wishes to find a true friend. It ends badly. It should be of middle length.'
        >>> request.asked
        {'hero': 'monkey', 'wish': 'to find a true friend', 'ending': 'badly', 'length': 'medium'}
    """
    return [request for _, request in drawn_requests(num, seed=seed, split=split, ask=ask)]


def demonstrations(
    num: int,
    *,
    seed: int,
    split: Split = "train",
    ask: Sequence[Attribute] | None = None,
    style: Style = "plain",
    system: str | None = None,
) -> list[Conversation]:
    """Draw conversations to learn from: a request, and a tale that fulfils it in every point.

    Args:
        num: How many.
        seed: Decides which; the requests are those of `story_instructions`.
        split: As there.
        ask: As there.
        style: In which voice the assistant answers.
        system: If given, each conversation begins with this message of the system.

    Returns:
        Lists of messages, for `ChatTemplate.encode`.

    Raises:
        ValueError: As in `story_instructions`, or for an unknown style.

    Example:
        >>> user, assistant = demonstrations(1, seed=2)[0]
        >>> user["content"][:30], assistant["content"][:59]
        ('Make up a story about a monkey', 'Once upon a time, in the green jungle, there lived an impat')
    """
    return [
        conversation(request.text, in_style(tale.text, style), system=system)
        for tale, request in drawn_requests(num, seed=seed, split=split, ask=ask)
    ]


def conversation(request: str, answer: str, *, system: str | None = None) -> Conversation:
    """Return the messages of one request and its answer."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    return [*messages, {"role": "user", "content": request}, {"role": "assistant", "content": answer}]


def follows(text: str, request: Instruction) -> Following:
    """Say which of the attributes asked for a text has; never raises.

    An attribute is met if the text tells it as asked and nowhere otherwise. It counts even if some other sentence is
    no sentence of a tale; whether all are is said by ``whole``. The words of a style do not count.

    Returns:
        What was met and missed. A model that ignores requests meets what is common anyway: it happens to end well
        in half of all tales.

    Example:
        >>> from course_lib.data.tales import tales
        >>> follows(tales(1, seed=7)[0].text, Instruction("...", {"hero": "squirrel", "ending": "badly"}))
        Following(met=('hero',), missed=('ending',), whole=True)
    """
    text = without_style(text)
    heard = told(text)
    met = tuple(name for name, value in request.asked.items() if heard[name] == frozenset([value]))
    missed = tuple(name for name in request.asked if name not in met)
    return Following(met, missed, grade(text).tale is not None)


def drawn_requests(
    num: int,
    *,
    seed: int,
    split: Split,
    ask: Sequence[Attribute] | None = None,
    name_hero: bool = False,
    hero: str | None = None,
) -> list[tuple[Tale, Instruction]]:
    """Draw requests, each with the tale behind it.

    With ``name_hero`` the hero is among what each asks for, whatever else is; ``hero`` puts another hero into the
    request, and only there.
    """
    if num < 0:
        raise ValueError(f"num must be 0 or more, got {num}.")
    if split not in ("train", "evaluation"):
        raise ValueError(f"split must be 'train' or 'evaluation', got {split!r}.")
    if ask is not None and (not ask or not set(ask) <= set(ATTRIBUTES)):
        raise ValueError(f"ask must name one or more of {', '.join(ATTRIBUTES)}, got {tuple(ask)}.")
    kept: list[tuple[Tale, Tale]] = []
    num_drawn = 0
    while len(kept) < num:
        num_drawn = max(2 * num_drawn, int(num * (1.4 if split == "train" else 4.5)) + 16)
        wanted = (
            (tale, tale if hero is None else replace(tale, hero=hero))
            for tale in tales(num_drawn, seed=seed, split=split)
        )
        kept = [(tale, want) for tale, want in wanted if pair_split(want.hero, want.wish) == split][:num]
    chance = random.Random(f"wordings {seed}")
    return [(tale, _worded(want, ask, name_hero, chance)) for tale, want in kept]


def pair_split(hero: str, wish: str) -> Split:
    """Return the split that a pair of hero and wish belongs to.

    Example:
        >>> pair_split("fox", "a boat"), pair_split("fox", "wings")
        ('train', 'train')
    """
    digest = hashlib.blake2b(f"{hero} | {wish}".encode(), digest_size=8).digest()
    return "train" if int.from_bytes(digest, "big") % _ONE_IN else "evaluation"


def _worded(tale: Tale, ask: Sequence[Attribute] | None, name_hero: bool, chance: random.Random) -> Instruction:
    """Ask for a tale: the plain request, each phrase in one of its wordings."""
    if ask is None:
        names = chance.sample(ATTRIBUTES, chance.randint(_FEWEST, _MOST))
        if name_hero and "hero" not in names:
            names[0] = "hero"
        ask = [cast(Attribute, name) for name in names]
    text = instruction(tale, ask)
    for phrase, wordings in _WORDINGS.items():
        text = text.replace(phrase, chance.choice(wordings))
    return Instruction(text, {name: str(getattr(tale, name)) for name in ATTRIBUTES if name in ask})
