"""What a tale has told so far: takes in one sentence after the other and finds what does not agree."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from .derivation import Derivation, needed, story_list
from .grammar import PARENTS, Frame, Grammar, beats, choice_of, local_of, slot_form
from .reading import Reader, Reading
from .slots import AGREEING, LOCAL, capital, forms, is_deed, verb_forms

_CHOICE_AGREED_WITH = {form: choice for choice, words in AGREEING.items() for form in words}


class Account:
    """The story-wide choices known so far, and the sentences they were heard in."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._story: dict[str, str] = {}
        self._told_in: dict[str, int] = {}
        self._sentences: list[tuple[Frame, dict[str, str]]] = []

    def hear(self, reading: Reading, reader: Reader, number: int) -> str | None:
        """Take in sentence ``number``; return the first thing wrong with it, None if all agrees."""
        shown = list(zip(reading.frame.slots, reading.shown, strict=True))
        named = [*self._facts(reading.frame)]
        named += [(c, reader.values[slot][text]) for slot, text in shown if (c := choice_of(slot_form(slot)))]
        local = {c: reader.values[slot][text] for slot, text in shown if (c := local_of(slot_form(slot)))}
        problems = [
            self._order(reading.frame),
            *[self._learn(choice, value, number) for choice, value in named],  # all of them, whatever is wrong
            self._sort_of_wish(reading.frame),
            self._agreement(shown),
            self._local(local),
        ]
        problem = next((problem for problem in problems if problem), None)
        if problem is None:
            self._sentences.append((reading.frame, local))
        return problem

    def close(self) -> Derivation | str:
        """Return the derivation of the tale heard, or what is wrong with the whole of it."""
        told = tuple(_beat(frame) for frame, _ in self._sentences)
        plan = tuple(beat for beat in told if beat != "sorry")
        if plan not in self._grammar.plans.position:
            return f"no tale goes in this order: {', '.join(told)}"
        story = {choice: self._story[choice] for choice in PARENTS if needed(choice, plan)}
        return Derivation(plan, story, self._sentences)

    def _facts(self, frame: Frame) -> Iterator[tuple[str, str]]:
        """Yield what the kind of a sentence tells, without a word of it."""
        beat, *rest = frame.key.split(".")
        if beat == "deed":
            yield "kindness", rest[0]
        if beat == "sorry":
            yield "kindness", "sorry"
        if beat in ("outcome", "joy", "company", "dream", "closing"):
            yield "ending", rest[-1]

    def _order(self, frame: Frame) -> str | None:
        beat = _beat(frame)
        if self._sentences and (_beat(self._sentences[-1][0]), beat) not in _in_order(self._grammar):
            return f"a sentence of the kind {beat!r} cannot come after {_beat(self._sentences[-1][0])!r}"
        return None

    def _learn(self, choice: str, value: str, number: int) -> str | None:
        """Keep what is told for the first time; what was told before must be the same."""
        known = self._story.get(choice)
        if known == value:
            return None
        if known is not None and (known, value) != ("unkind", "sorry"):
            told = f"{_plain(known)!r} in sentence {self._told_in[choice]}"
            return f"{choice} is {_plain(value)!r} here, but {told}"
        self._story[choice] = value
        self._told_in[choice] = number
        for child, parents in PARENTS.items():
            if choice in (child, *parents) and {child, *parents} <= self._story.keys():
                likely = story_list(self._grammar, child, self._story)
                if self._story[child] not in likely.position:
                    given = " and ".join(f"{parent} {_plain(self._story[parent])!r}" for parent in parents)
                    return f"{child} {_plain(self._story[child])!r} does not go with {given}"
        return None

    def _sort_of_wish(self, frame: Frame) -> str | None:
        beat, *rest = frame.key.split(".")
        if "wish" in self._story and beat in ("tale", "wish", "reason", "outcome"):
            sort = "deed" if is_deed(self._story["wish"]) else "thing"
            if rest[0] != sort:
                return f"this is said of a {rest[0]} that is wished for, but the wish is a {sort}"
        return None

    def _agreement(self, shown: list[tuple[str, str]]) -> str | None:
        for slot, text in shown:
            form = slot_form(slot)
            choice = _CHOICE_AGREED_WITH.get(form)
            if choice in self._story:
                right = forms(choice, self._story[choice], self._grammar.plurals).get(form)
                if right is None:
                    continue  # "it" of a wish that is a deed: _sort_of_wish says so
                if text not in (right, capital(right)):
                    return f"{text!r} does not agree with {choice} {self._story[choice]!r}: expected {right!r}"
        return None

    def _local(self, local: dict[str, str]) -> str | None:
        for choice, value in local.items():
            parent = LOCAL[choice]
            if parent not in self._story:
                continue  # what is free is right; what hangs on something not yet told cannot be judged
            fitting = self._grammar.local[choice].get(self._story[parent])
            if fitting is None or value not in fitting.position:
                return f"{choice} {_plain(value)!r} does not go with {parent} {_plain(self._story[parent])!r}"
        return None


@lru_cache(maxsize=1)
def _in_order(grammar: Grammar) -> frozenset[tuple[str, str]]:
    """Return the pairs of kinds of sentence of which the second may come after the first."""
    return frozenset(
        (first, second)
        for plan in grammar.plans.items
        for kindness in ("kind", "sorry")
        for place, first in enumerate(beats(plan, kindness))
        for second in beats(plan, kindness)[place + 1 :]
    )


def _plain(value: str) -> str:
    """Return a choice as a reader would say it: a verb in the present, not "cut|cut the net"."""
    return verb_forms(value)[0] if "|" in value else value


def _beat(frame: Frame) -> str:
    return frame.key.partition(".")[0]
