"""No sentence of a tale can be read in two ways: shown for all frames and all fillings, not for a sample."""

from itertools import combinations_with_replacement

from course_lib.data.tales.grammar import frame, whole_grammar
from course_lib.data.tales.reading import sentences_of, whole_reader

READER = whole_reader()


def elements(shape):
    """A frame as a row of sets of texts: each literal a set of one, each gap all that fits."""
    row = [(shape.literals[0],)]
    for slot, literal in zip(shape.slots, shape.literals[1:], strict=True):
        row += [tuple(text for texts in READER.texts[slot].values() for text in texts), (literal,)]
    return [texts for texts in row if texts != ("",)]


def read_by_both(a, b, *, same):
    """Return a sentence that both rows make, by other choices if they are the ``same`` row; None if there is none.

    Walks both rows at once. A state is how far each has come, what one of them has said ahead of the other, and
    whether all choices have been equal so far.
    """
    seen, todo = set(), [(0, "", 0, "", same, "")]
    while todo:
        i, ahead_a, j, ahead_b, equal, text = todo.pop()
        if (state := (i, ahead_a, j, ahead_b, equal)) in seen:
            continue
        seen.add(state)
        if (i, j, ahead_a, ahead_b) == (len(a), len(b), "", ""):
            if not equal:
                return text
        elif equal:  # in step: stay so, or part where one text is the beginning of another
            todo.append((i + 1, "", j + 1, "", True, text))
            todo += [
                (i + 1, "", j + 1, long[len(short) :], False, text + long)
                for short in a[i]
                for long in a[i]
                if short != long and long.startswith(short)
            ]
        elif ahead_a and j < len(b):
            for said in b[j]:
                if said.startswith(ahead_a):
                    todo.append((i, "", j + 1, said[len(ahead_a) :], False, text + said[len(ahead_a) :]))
                elif ahead_a.startswith(said):
                    todo.append((i, ahead_a[len(said) :], j + 1, "", False, text))
        elif not ahead_a and i < len(a):
            for said in a[i]:
                if said.startswith(ahead_b):
                    todo.append((i + 1, said[len(ahead_b) :], j, "", False, text + said[len(ahead_b) :]))
                elif ahead_b.startswith(said):
                    todo.append((i + 1, "", j, ahead_b[len(said) :], False, text))
    return None


def can_meet(a, b):
    """Whether two frames could begin and end alike, as far as their first and last words say."""
    first, last = sorted((a.literals[0], b.literals[0]), key=len), sorted((a.literals[-1], b.literals[-1]), key=len)
    return first[1].startswith(first[0]) and last[1].endswith(last[0])


def test_no_sentence_has_two_readings():
    rows = [(shape, elements(shape)) for shape in READER.frames]
    num_pairs = 0
    for (shape_a, a), (shape_b, b) in combinations_with_replacement(rows, 2):
        if can_meet(shape_a, shape_b):
            num_pairs += 1
            assert read_by_both(a, b, same=shape_a is shape_b) is None, (shape_a, shape_b)
    assert num_pairs > len(rows)


def test_the_walk_finds_two_readings_where_there_are_two():
    other = frame("night", "That night {at} the owls called from the pines.")
    twin = frame("night", "That night {at} the {hero}s called from the pines.")
    assert read_by_both(elements(other), elements(twin), same=False).startswith("That night")
    loose = frame("joy.well", "{Kind} hawk and {kind} sang.")
    assert read_by_both([("a", "a b"), (" "), ("b c", "c")], [("a", "a b"), (" "), ("b c", "c")], same=True) == "a b c"
    assert read_by_both(elements(loose), elements(loose), same=True) is None


def test_every_sentence_is_one_sentence():
    """So that a text falls into the sentences it was made of. Texts in one kind of gap all begin large or all small."""
    for slot, by_word in READER.texts.items():
        assert len({word[0].isupper() for word in by_word}) == 1 or slot in ("I", "i"), slot
        assert not any(mark in text for texts in by_word.values() for text in texts for mark in '.?!"')
    for shape in READER.frames:
        filled = "".join(
            literal + slot
            for literal, slot in zip(
                shape.literals, (*(next(iter(READER.texts[s].values()))[0] for s in shape.slots), ""), strict=True
            )
        )
        assert sentences_of(filled) == [filled]
        assert sentences_of(f"{filled} {filled}") == [filled, filled]


def test_a_text_in_a_gap_has_one_meaning():
    for slot, values in READER.values.items():
        shown = {text for texts in READER.texts[slot].values() for text in texts}
        assert set(values) == shown, slot


def test_the_reader_knows_every_frame():
    frames = [shape for options in whole_grammar().frames.values() for shape in options.items]
    assert list(READER.frames) == frames
