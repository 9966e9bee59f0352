"""A tale as everybody sees it: its text, its attributes, its probability, and the request it would answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from .derivation import Derivation, log_probability, render
from .grammar import Grammar
from .slots import a_or_an, is_deed, verb_forms

if TYPE_CHECKING:
    from datasets import Dataset

Kindness = Literal["kind", "unkind", "sorry"]
Ending = Literal["well", "gently", "badly"]
Length = Literal["short", "medium", "long"]
Attribute = Literal["hero", "name", "trait", "place", "wish", "friend", "kindness", "ending", "length"]

_LONGEST_SHORT, _LONGEST_MEDIUM = 6, 8  # sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Tale:
    """One short story with everything that is true of it.

    Args:
        text: The story: one paragraph of plain ASCII, without a mark for its end.
        log_prob: Exact log probability of the text among all tales, in nats.
        hero: What kind of hero, such as ``"fox"``.
        name: The hero's name.
        trait: The hero's temper.
        place: Where it happens, such as ``"in the forest"``.
        wish: ``"a boat"``, or for a deed ``"to touch the moon"``.
        friend: ``"Dot the snail"``, or None.
        needy: Who needs help, such as ``"heron"``.
        kindness: Whether the hero helps at once, never, or is sorry and helps later.
        ending: ``"well"`` if the wish comes true, ``"gently"`` if something smaller is enough, or ``"badly"``.
        num_sentences: From 4 to 12.
    """

    text: str
    log_prob: float
    hero: str
    name: str
    trait: str
    place: str
    wish: str
    friend: str | None
    needy: str
    kindness: Kindness
    ending: Ending
    num_sentences: int

    @property
    def length(self) -> Length:
        """Short up to 6 sentences, medium up to 8, otherwise long."""
        return length_of(self.num_sentences)


def length_of(num_sentences: int) -> Length:
    """Return what a tale of so many sentences is called.

    Example:
        >>> length_of(6), length_of(8), length_of(9)
        ('short', 'medium', 'long')
    """
    if num_sentences <= _LONGEST_SHORT:
        return "short"
    return "medium" if num_sentences <= _LONGEST_MEDIUM else "long"


def tale_of(grammar: Grammar, derivation: Derivation) -> Tale:
    """Return the tale that a derivation makes."""
    story, sentences = derivation.story, render(grammar, derivation)
    wish = story["wish"]
    return Tale(
        text=" ".join(sentences),
        log_prob=log_probability(grammar, derivation),
        hero=story["hero"],
        name=story["name"],
        trait=story["trait"],
        place=story["at"],
        wish=f"to {verb_forms(wish)[0]}" if is_deed(wish) else wish,
        friend=f"{story['friend']} the {story['kind']}" if "friend" in story else None,
        needy=story["needy"],
        kindness=cast(Kindness, story["kindness"]),
        ending=cast(Ending, story["ending"]),
        num_sentences=len(sentences),
    )


def instruction(tale: Tale, ask: Sequence[Attribute] = ("hero", "wish", "ending")) -> str:
    """Return a request that ``tale`` fulfils, naming the attributes in ``ask``.

    Args:
        tale: The answer.
        ask: What the request names, in any order; what it does not name is free. Without ``"hero"`` it speaks of
            "somebody". A tale without a friend is asked for by saying so.

    Raises:
        ValueError: If ``ask`` names something that is no attribute, or nothing at all.

    Example:
        >>> from course_lib.data.tales import tales
        >>> tale = tales(1, seed=7)[0]
        >>> instruction(tale)
        'Tell a story about a squirrel who wishes for a red kite. It ends well.'
        >>> instruction(tale, ask=("trait", "name", "length"))
        'Tell a story about a dreamy hero named Mara. Keep it short.'
    """
    known = get_args(Attribute)
    if not ask or not set(ask) <= set(known):
        raise ValueError(f"ask must name one or more of {', '.join(known)}; got {tuple(ask)}.")
    who = tale.hero if "hero" in ask else "somebody"
    if "trait" in ask:
        who = f"{tale.trait} {tale.hero if 'hero' in ask else 'hero'}"
    text = f"Tell a story about {who if who == 'somebody' else a_or_an(who)}"
    if "name" in ask:
        text += f" named {tale.name}"
    if "place" in ask:
        text += f" {tale.place}"
    if "wish" in ask:
        text += f" who wishes {'' if tale.wish.startswith('to ') else 'for '}{tale.wish}"
    sentences = [text]
    if "friend" in ask:
        sentences.append(f"There is a friend, {tale.friend}" if tale.friend else "There is no friend in it")
    if "kindness" in ask:
        sentences.append(_KINDNESS_WORDS[tale.kindness])
    if "ending" in ask:
        sentences.append(f"It ends {tale.ending}")
    if "length" in ask:
        sentences.append(_LENGTH_WORDS[tale.length])
    return ". ".join(sentences) + "."


_KINDNESS_WORDS = {
    "kind": "The hero is kind",
    "unkind": "The hero is unkind",
    "sorry": "The hero is unkind at first and then sorry",
}
_LENGTH_WORDS = {"short": "Keep it short", "medium": "Make it neither short nor long", "long": "Make it long"}


def as_dataset(tales: Sequence[Tale]) -> Dataset:
    """Return tales as a ``datasets.Dataset``: a column for the text and for every attribute.

    Needs ``datasets`` (extra ``learn``).

    Example:
        >>> from course_lib.data.tales import tales
        >>> as_dataset(tales(5, seed=0)).num_rows
        5
    """
    from datasets import Dataset

    if not tales:
        raise ValueError("as_dataset needs at least one tale, got none.")
    return Dataset.from_list([{**asdict(tale), "length": tale.length} for tale in tales])
