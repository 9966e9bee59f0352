"""The grammar of the tales: which choices are made, what each depends on, and the sentence frames that show them.

A tale is drawn in this order. **Story-wide choices**: the place, the hero given the place, a name, a temper, the wish,
kindness, the ending given wish and kindness, the plan (which kinds of sentence, in which order), the spot, who needs
help and the trouble, and, if the plan asks for them, a friend and what the wish is for. Then, for each sentence of
the plan, **a frame**, and for the frame its **local choices** (food, weather, ...). Every choice shows in the text and
no sentence can be read in two ways, so a text has exactly one derivation, whose probability is the text's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest

from .beginnings import BEGINNINGS
from .endings import ENDINGS
from .heroes import HEROES
from .lists import (
    BEGGINGS,
    BRAVERIES,
    FEASTS,
    FRIEND_NAMES,
    FRIENDS,
    HE_NAMES,
    MANNERS,
    SAIDS,
    SAYINGS,
    SEASONS,
    SHE_NAMES,
    TIMES,
    TRAITS,
    WEATHERS,
)
from .middles import MIDDLES
from .needies import NEEDIES, TROUBLES
from .plans import ENDING, KINDNESS, PLANS
from .settings import SETTINGS
from .slots import LOCAL, NAMING, is_deed
from .tables import Weighted, items, records, sections, weighted, zipf
from .wishes import DEEDS, THINGS

Plan = tuple[str, ...]

# What each story-wide choice depends on. A friend and a use are drawn only if the plan has the sentence for them.
PARENTS: Mapping[str, tuple[str, ...]] = {
    "at": (),
    "hero": ("at",),
    "name": (),
    "trait": (),
    "wish": (),
    "kindness": (),
    "ending": ("wish", "kindness"),
    "spot": ("at",),
    "needy": ("at",),
    "trouble": ("needy",),
    "friend": (),
    "kind": (),
    "use": ("wish",),
}
NEEDS_SENTENCE = {"friend": "friend", "kind": "friend", "use": "reason"}

_BRACES = re.compile(r"\{(\w+)\}")
_CHOICE_OF_FORM = {form: choice for choice, made in NAMING.items() for form in made}
_LOCAL_OF_FORM = {**{choice: choice for choice in LOCAL}, "helped": "help"}


@dataclass(frozen=True, slots=True)
class Frame:
    """A sentence with gaps: ``literals[0] + slots[0] + literals[1] + ... + literals[-1]``.

    Args:
        key: The kind of sentence, such as ``"wish.thing"``.
        literals: The fixed text around the gaps, one more than there are gaps.
        slots: The form that goes into each gap, with a capital first letter if the sentence needs one.
        local: The local choices of the sentence, in order.
    """

    key: str
    literals: tuple[str, ...]
    slots: tuple[str, ...]
    local: tuple[str, ...]


def frame(key: str, text: str) -> Frame:
    """Return the frame written as ``text``.

    Example:
        >>> frame("closing.well", "And {name} ate {food}.").local
        ('food',)
    """
    pieces = _BRACES.split(text)
    slots = tuple(pieces[1::2])
    local = tuple(_LOCAL_OF_FORM[form] for form in map(slot_form, slots) if form in _LOCAL_OF_FORM)
    if len(set(local)) < len(local):
        raise ValueError(f"a frame may draw from a list only once, got {text!r} in [{key}].")
    return Frame(key, tuple(pieces[0::2]), slots, local)


def slot_form(slot: str) -> str:
    """Return the form a slot asks for, its capital taken away."""
    return slot[0].lower() + slot[1:]


def choice_of(form: str) -> str | None:
    """Return the story-wide choice that a form names; None for local choices and for words that only agree."""
    return _CHOICE_OF_FORM.get(form)


def local_of(form: str) -> str | None:
    """Return the local choice that a form shows, if it shows one."""
    return _LOCAL_OF_FORM.get(form)


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """All lists and their probabilities.

    Args:
        story: For each story-wide choice, its list given the values of its parents (``PARENTS``).
        local: For each local choice, its list given the value it depends on (``LOCAL``; "" if on nothing).
        frames: The frames of each kind of sentence.
        plans: The order of sentences.
        plurals: Wishes and needies that are "they", and names that are "he".
        grand: Wishes that are hardly ever granted.
    """

    story: Mapping[str, Mapping[tuple[str, ...], Weighted[str]]]
    local: Mapping[str, Mapping[str, Weighted[str]]]
    frames: Mapping[str, Weighted[Frame]]
    plans: Weighted[Plan]
    plurals: frozenset[str]
    grand: frozenset[str]


def sentence_key(beat: str, *, wish: str, kindness: str, ending: str) -> str:
    """Return which frames a sentence of the plan is drawn from.

    Example:
        >>> sentence_key("outcome", wish="a boat", kindness="kind", ending="well")
        'outcome.thing.well'
    """
    sort = "deed" if is_deed(wish) else "thing"
    if beat in ("tale", "wish", "reason"):
        return f"{beat}.{sort}"
    if beat == "deed":
        return "deed.kind" if kindness == "kind" else "deed.unkind"
    if beat == "outcome":
        return f"outcome.{sort}.{ending}"
    return f"{beat}.{ending}" if beat in ("joy", "company", "dream", "closing") else beat


def beats(plan: Plan, kindness: str) -> Plan:
    """Return the sentences of a tale: those of its plan, and before the outcome that the hero is sorry."""
    if kindness != "sorry":
        return plan
    turn = plan.index("outcome")
    return (*plan[:turn], "sorry", *plan[turn:])


@lru_cache(maxsize=1)
def whole_grammar() -> Grammar:
    """Return the grammar of all tales."""
    places, heroes = list(records(SETTINGS)), list(records(HEROES))
    things, deeds = list(records(THINGS)), list(records(DEEDS))
    wish_records = [(record.get("thing") or record["deed"])[0] for record in chain(things, deeds)]
    wishes = dict(zip(wish_records, chain(things, deeds), strict=True))
    needies, troubles = list(records(NEEDIES)), list(records(TROUBLES))
    trouble_lists, help_lists = _troubles(troubles)
    class_of = {who: record["class"][0] for record in needies for who in record["who"]}
    grand = frozenset(wish for wish, record in wishes.items() if "grand" in record)
    names = _alternate(items(SHE_NAMES), items(HE_NAMES))
    plural_needies = {who for record in needies if "plural" in record for who in record["who"]}

    story: dict[str, dict[tuple[str, ...], Weighted[str]]] = {
        "at": {(): zipf(record["at"][0] for record in places)},
        "hero": {(record["at"][0],): zipf(record["heroes"]) for record in places},
        "name": {(): zipf(names)},
        "trait": {(): zipf(items(TRAITS))},
        "wish": {(): zipf(_alternate(*_in_two(wishes)))},
        "kindness": {(): weighted(KINDNESS)},
        "ending": {
            (wish, kindness): weighted(ENDING["grand" if wish in grand else "modest", kindness])
            for wish in wishes
            for kindness in KINDNESS
        },
        "spot": {(record["at"][0],): zipf(record["spots"]) for record in places},
        "needy": {(record["at"][0],): zipf(record["needies"]) for record in places},
        "trouble": {(who,): trouble_lists[sort] for who, sort in class_of.items()},
        "friend": {(): zipf(items(FRIEND_NAMES))},
        "kind": {(): zipf(items(FRIENDS))},
        "use": {(wish,): zipf(record["uses"]) for wish, record in wishes.items()},
    }
    local: dict[str, dict[str, Weighted[str]]] = {
        "food": {record["hero"][0]: zipf(record["foods"]) for record in heroes},
        "habit": {record["hero"][0]: zipf(record["habits"]) for record in heroes},
        **{name: {r["at"][0]: zipf(r[column]) for r in places} for name, column in _OF_PLACES.items()},
        **{
            name: {wish: zipf(record[column]) for wish, record in wishes.items() if column in record}
            for name, column in _OF_WISHES.items()
        },
        "help": help_lists,
        **{name: {"": zipf(items(text))} for name, text in _FREE.items()},
    }
    frames = {
        key: zipf((frame(key, line) for line in lines), steep=True)
        for key, lines in sections(BEGINNINGS, MIDDLES, ENDINGS).items()
    }
    return Grammar(
        story=story,
        local=local,
        frames=frames,
        plans=zipf(tuple(line.split()) for line in PLANS.strip().splitlines()),
        plurals=frozenset(
            {wish for wish, record in wishes.items() if "plural" in record} | plural_needies | set(items(HE_NAMES))
        ),
        grand=grand,
    )


_OF_PLACES = {"sights": "sights", "path": "paths", "night": "nights"}
_OF_WISHES = {"made": "made", "way": "ways", "instead": "instead", "ruin": "ruins", "fail": "fails"}
_FREE = {
    "saying": SAYINGS,
    "weather": WEATHERS,
    "time": TIMES,
    "manner": MANNERS,
    "said": SAIDS,
    "begging": BEGGINGS,
    "season": SEASONS,
    "feast": FEASTS,
    "bravery": BRAVERIES,
}


def _alternate(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return [item for pair in zip_longest(first, second) for item in pair if item is not None]


def _in_two(wishes: Mapping[str, object]) -> tuple[list[str], list[str]]:
    return [wish for wish in wishes if not is_deed(wish)], [wish for wish in wishes if is_deed(wish)]


def _troubles(rows: Sequence[Mapping[str, Sequence[str]]]) -> tuple[dict[str, Weighted[str]], dict[str, Weighted[str]]]:
    by_class: dict[str, list[str]] = {}
    helps: dict[str, Weighted[str]] = {}
    for row in rows:
        for trouble, first in zip(row["trouble"], range(0, len(row["helps"]), 2), strict=True):
            by_class.setdefault(row["class"][0], []).append(trouble)
            helps[trouble] = zipf(row["helps"][first : first + 2])
    return {sort: zipf(troubles) for sort, troubles in by_class.items()}, helps
