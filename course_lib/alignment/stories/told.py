"""What a story tells of its hero, its wish and its end, read sentence by sentence, even where the whole is no tale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from course_lib.data.tales.grammar import choice_of, slot_form
from course_lib.data.tales.reading import Reading, sentences_of, whole_reader
from course_lib.data.tales.slots import is_deed, verb_forms
from course_lib.data.tales.tale import length_of

ATTRIBUTES = ("hero", "wish", "kindness", "ending", "length")
_TELL_THE_ENDING = ("outcome", "joy", "company", "dream", "closing")


def told(text: str) -> Mapping[str, frozenset[str]]:
    """Return all that ``text`` says of each attribute; never raises.

    `course_lib.data.tales.parse` reads whole tales only, and a small model's story often has one sentence that fits no
    tale. Here each sentence that the grammar knows is heard for itself. So a story may tell two things of one
    attribute, which then contradict each other; a tale never does.

    Args:
        text: Any text.

    Returns:
        For "hero", "wish", "kindness", "ending" and "length" the values told, as `course_lib.data.tales.Tale` writes
        them; an empty set for what is not told. Length counts all sentences, and is told if any of them is known.

    Example:
        >>> from course_lib.data.tales import tales
        >>> story = tales(1, seed=7)[0].text
        >>> told(story + " What a day.")["wish"], told("What a day.")["wish"]
        (frozenset({'a red kite'}), frozenset())
    """
    found: dict[str, set[str]] = {name: set() for name in ATTRIBUTES}
    sentences = sentences_of(text)
    reader, num_known = whole_reader(), 0
    for sentence in sentences:
        reading = next(reader.readings(sentence), None)
        if reading is None:
            continue
        num_known += 1
        for name, value in _facts(reading, reader.values):
            found[name].add(value)
    if "sorry" in found["kindness"]:
        found["kindness"].discard("unkind")  # who is sorry was unkind before
    if num_known:
        found["length"].add(length_of(len(sentences)))
    return {name: frozenset(values) for name, values in found.items()}


def _facts(reading: Reading, values: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield what one sentence tells: by its words, and by its kind."""
    for slot, shown in zip(reading.frame.slots, reading.shown, strict=True):
        choice = choice_of(slot_form(slot))
        if choice == "hero":
            yield "hero", values[slot][shown]
        elif choice == "wish":
            wish = values[slot][shown]
            yield "wish", f"to {verb_forms(wish)[0]}" if is_deed(wish) else wish
    beat, *rest = reading.frame.key.split(".")
    if beat == "deed":
        yield "kindness", rest[0]
    elif beat == "sorry":
        yield "kindness", "sorry"
    elif beat in _TELL_THE_ENDING:
        yield "ending", rest[-1]
