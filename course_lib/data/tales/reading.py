"""Read one sentence: find its frame and what fills the gaps, whatever the rest of the tale says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .grammar import Frame, Grammar, choice_of, local_of, whole_grammar
from .slots import LOCAL, NAMING, capital, forms

# A sentence ends at a full stop, question or exclamation mark, perhaps with a quotation mark after it, before a space
# and the capital or quotation mark of the next.
_END = re.compile(r'(?<=[.!?]) (?=[A-Z"])|(?<=[.!?]") (?=[A-Z"])')
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence understood: its frame, and the text in each gap."""

    frame: Frame
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """All frames, and all texts that can fill a gap.

    Args:
        frames: Every frame of every kind.
        texts: For each kind of gap, the texts that fit, by their first word.
        values: For each kind of gap that shows a choice, what was chosen, given the text.
    """

    frames: tuple[Frame, ...]
    texts: Mapping[str, Mapping[str, list[str]]]
    values: Mapping[str, Mapping[str, str]]

    def readings(self, sentence: str) -> Iterator[Reading]:
        """Yield every way to read a sentence; in the grammar that ships there is never more than one."""
        for frame in self.frames:
            if sentence.startswith(frame.literals[0]) and sentence.endswith(frame.literals[-1]):
                for shown in self._fill(frame, sentence, 0, len(frame.literals[0])):
                    yield Reading(frame, shown)

    def _fill(self, frame: Frame, sentence: str, gap: int, start: int) -> Iterator[tuple[str, ...]]:
        """Yield the ways to fill the gaps from number ``gap`` on with the sentence from ``start`` on."""
        if gap == len(frame.slots):
            if start == len(sentence):
                yield ()
            return
        literal = frame.literals[gap + 1]
        for text in self.texts[frame.slots[gap]].get(_first_word(sentence, start), ()):
            end = start + len(text)
            if sentence.startswith(text, start) and sentence.startswith(literal, end):
                for rest in self._fill(frame, sentence, gap + 1, end + len(literal)):
                    yield (text, *rest)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text.

    Example:
        >>> sentences_of('Finn ran. "Stop!" said Ida. Who was it?')
        ['Finn ran.', '"Stop!" said Ida.', 'Who was it?']
    """
    return _END.split(text)


@lru_cache(maxsize=1)
def whole_reader() -> Reader:
    """Return the reader of all tales."""
    return reader_of(whole_grammar())


def reader_of(grammar: Grammar) -> Reader:
    """Return a reader of the tales of ``grammar``.

    Raises:
        ValueError: If one text in one kind of gap could come from two different choices.
    """
    texts: dict[str, dict[str, list[str]]] = {}
    values: dict[str, dict[str, str]] = {}
    lists = {choice: grammar.story[choice].values() for choice in NAMING}
    lists |= {choice: grammar.local[choice].values() for choice in LOCAL}
    for choice, options in lists.items():
        for value in dict.fromkeys(item for option in options for item in option.items):
            for form, text in forms(choice, value, grammar.plurals).items():
                named = bool(choice_of(form) or local_of(form))
                for slot, shown in {form: text, capital(form): capital(text)}.items():
                    alike = texts.setdefault(slot, {}).setdefault(_first_word(shown), [])
                    if shown not in alike:
                        alike.append(shown)
                    if named and values.setdefault(slot, {}).setdefault(shown, value) != value:
                        raise ValueError(f"{shown!r} could be {value!r} or {values[slot][shown]!r}: change one.")
    frames = tuple(frame for options in grammar.frames.values() for frame in options.items)
    return Reader(frames, texts, values)


def _first_word(text: str, start: int = 0) -> str:
    word = _WORD.match(text, start)
    return word[0] if word else ""
