"""glyph_pairs and encode_captions: order carries the meaning, words become numbers and back."""

import math
from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from course_lib.data.glyphs import (
    CAPTION_WORDS,
    CHARACTERS,
    FACES,
    UNSEEN,
    encode_captions,
    glyph_classes,
    glyph_pairs,
    glyphs,
    render,
)

PAIRS = glyph_pairs(400, seed=0, size=8)


def read(phrase):
    """What "an italic R" says: the character and the style."""
    article, *adjectives, character = phrase.split()
    vowel_sound = adjectives[0] == "italic" if adjectives else character in "AEFHILMNORSX8"
    assert article == ("an" if vowel_sound else "a")
    return character, " ".join(adjectives) or "regular"


def shown(pairs, row, side):
    return CHARACTERS[pairs.characters[row, side]], FACES[pairs.faces[row, side]].style


def test_captions_say_what_stands_left_of_what():
    for row, caption in enumerate(PAIRS.captions):
        left, right = caption.split(" left of ")
        assert read(left) == shown(PAIRS, row, 0)
        assert read(right) == shown(PAIRS, row, 1)
        assert PAIRS.swapped[row] == f"{right} left of {left}"


def test_a_bag_of_words_cannot_tell_a_caption_from_its_swap():
    for caption, swapped in zip(PAIRS.captions, PAIRS.swapped, strict=True):
        assert caption != swapped
        assert Counter(caption.split()) == Counter(swapped.split())


def test_each_half_is_the_glyph_it_should_be():
    pairs = glyph_pairs(20, seed=1, size=28, jitter=False)
    assert pairs.images.shape == (20, 1, 28, 56)
    assert pairs.images.dtype == torch.float32
    for side, half in enumerate(pairs.images.chunk(2, dim=-1)):
        alone = render.render(pairs.characters[:, side].numpy(), pairs.faces[:, side].numpy(), size=28, jitter=None)
        assert_close(half, alone, rtol=0, atol=0)


def test_halves_are_jittered_each_on_its_own():
    pairs = glyph_pairs(30, seed=2, size=28, characters="HI", faces=[0])
    left, right = pairs.images.chunk(2, dim=-1)
    as_h = torch.cat([left[pairs.characters[:, 0] == 17], right[pairs.characters[:, 1] == 17]])
    assert len(as_h) == len(as_h.flatten(1).unique(dim=0)) == 30


def test_glyphs_of_a_pair_are_never_alike_and_all_orders_are_as_likely():
    pairs = glyph_pairs(6000, seed=3, size=8, characters="AB", faces=[0, 1], jitter=False)  # 4 phrases, 12 pairs
    counts = Counter(pairs.captions)
    assert len(counts) == 12
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 11 + 4 * math.sqrt(22)
    assert all(shown(PAIRS, row, 0) != shown(PAIRS, row, 1) for row in range(len(PAIRS)))


@pytest.mark.parametrize(("combinations", "held_out"), [("seen", False), ("unseen", True)])
def test_both_glyphs_come_from_the_combinations_asked_for(combinations, held_out):
    pairs = glyph_pairs(200, seed=4, size=8, combinations=combinations)
    for row in range(200):
        assert (shown(pairs, row, 0) in UNSEEN) is (shown(pairs, row, 1) in UNSEEN) is held_out


def test_more_pairs_start_with_the_same_and_are_not_the_glyphs_of_the_seed(global_random_states):
    before = global_random_states()
    many, few = glyph_pairs(300, seed=5), glyph_pairs(7, seed=5)
    assert_close(many.images[:7], few.images, rtol=0, atol=0)
    assert many.captions[:7] == few.captions
    assert many.swapped[:7] == few.swapped
    assert glyph_pairs(7, seed=6).captions != few.captions
    alone = glyphs(14, seed=5, size=8).characters
    assert (few.characters.flatten() == alone).float().mean() < 0.5  # chance is 1/36
    assert global_random_states() == before
    assert repr(few) == "GlyphPairs(7 images of 28x56)"
    assert len(few) == 7
    assert len(glyph_pairs(0, seed=0)) == 0


def test_classes_are_all_captions_cut_in_two():
    everything, seen, unseen = (glyph_classes(combinations) for combinations in ("all", "seen", "unseen"))
    assert (len(everything), len(seen), len(unseen)) == (36 * 12, 36 * 12 - 29 * 3, 29 * 3)
    assert sorted(seen + unseen) == sorted(everything)
    assert len(set(everything)) == 432
    assert seen == [caption for caption in everything if caption in set(seen)]
    assert {word for c in seen for word in c.split()} == {word for c in everything for word in c.split()}


def test_words_become_numbers_and_back():
    captions = [*glyph_classes(), *PAIRS.captions]
    ids = encode_captions(captions)
    assert ids.shape == (len(captions), 10)
    assert ids.dtype == torch.int64
    assert ids[:432, 5:].max() == 0  # 5 words at most for one glyph
    assert [" ".join(CAPTION_WORDS[i] for i in row if i) for row in ids] == captions
    assert set(ids.unique().tolist()) == set(range(len(CAPTION_WORDS)))  # no word is there in vain


def test_numbers_known_by_thought():
    assert len(CAPTION_WORDS) == len(set(CAPTION_WORDS)) == 46
    assert CAPTION_WORDS[0] == ""
    ids = encode_captions(["a bold A"], length=5)
    assert [CAPTION_WORDS[i] for i in ids[0]] == ["a", "bold", "A", "", ""]
    assert encode_captions([]).shape == (0, 0)
    assert encode_captions([], length=4).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: glyph_pairs(-1, seed=0), "got num=-1 and seed=0"),
        (lambda: glyph_pairs(1, seed=-1), "got num=1 and seed=-1"),
        (lambda: glyph_pairs(1, seed=0, characters="A", faces=[0]), "all that can come is 'an A'"),
        (lambda: glyph_pairs(1, seed=0, size=5), "from 8 to 256 pixels, got 5"),
        (lambda: glyph_classes("none"), "'all', 'seen' or 'unseen', got 'none'"),
        (lambda: encode_captions("a bold A"), r"write \['a bold A'\]"),
        (
            lambda: encode_captions(["a big A"]),
            r"'a big A' has the unknown words \['big'\].* a, an, bold, .*, left, of",
        ),
        (lambda: encode_captions(["a bold r"]), r"unknown words \['r'\]"),
        (lambda: encode_captions(["  "]), "'  ' has no words"),
        (lambda: encode_captions(["a bold A"], length=2), "has 3 words, more than length=2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
