"""glyphs: faces look as they are described, drawings lie where they should, draws are what the seed says."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import ImageFont
from scipy.ndimage import map_coordinates
from torch.testing import assert_close

from course_lib.data.glyphs import CHARACTERS, FACES, STYLES, UNSEEN, glyph_classes, glyphs, render

EVERY = np.array([(c, f) for f, face in enumerate(FACES) for c in range(36) if CHARACTERS[c] in face.characters])
PLAIN = render.render(EVERY[:, 0], EVERY[:, 1], size=32, jitter=None)[:, 0]


def drawings_of(face, characters):
    """The undistorted images of some characters in one face, (number of characters, 32, 32)."""
    wanted = [CHARACTERS.index(c) for c in characters]
    rows = [np.flatnonzero(((c, face) == EVERY).all(1))[0] for c in wanted]
    return PLAIN[rows]


def lean(image):
    """How far ink moves to the right for each pixel further up: the slope of x on y, weighted by ink."""
    ink = image.double() / image.sum()
    y, x = torch.meshgrid(*(torch.arange(s, dtype=torch.float64) for s in image.shape), indexing="ij")
    x, y = x - (ink * x).sum(), y - (ink * y).sum()
    return -float((ink * x * y).sum() / (ink * y * y).sum())


def test_there_are_22_faces_of_4_styles_and_3_families():
    assert len(FACES) == len({face.file for face in FACES}) == 22
    assert Counter(face.style for face in FACES) == {"regular": 7, "bold": 5, "italic": 6, "bold italic": 4}
    assert len({face.description for face in FACES}) == 12
    assert len(EVERY) == 36 * 21 + 26 == 782


@pytest.mark.parametrize("number", [n for n, face in enumerate(FACES) if face.file[:2] != "cm"])
def test_the_font_itself_calls_its_style_so(number):
    said = render._font(number, 20.0).getname()[1].replace("Oblique", "Italic").lower()
    assert said.replace("book", "regular") == FACES[number].style


@pytest.mark.parametrize("number", range(22))
def test_italic_characters_lean_and_upright_ones_do_not(number):
    symmetric = [c for c in "0HIOT8" if c in FACES[number].characters]  # upright, left and right are alike
    leans = [lean(image) for image in drawings_of(number, symmetric)]
    if "italic" in FACES[number].style:
        assert min(leans) > math.tan(math.radians(8))
    else:
        assert max(map(abs, leans)) < math.tan(math.radians(2))


def test_bold_has_more_ink_than_its_lighter_sibling():
    bolder = {"regular": "bold", "italic": "bold italic"}
    pairs = [
        (light, bold)
        for (light, a), (bold, b) in itertools.permutations(enumerate(FACES), 2)
        if a.typeface == b.typeface and bolder.get(a.style) == b.style
    ]
    assert len(pairs) == 9  # five bold faces, four bold italic ones
    for light, bold in pairs:
        assert drawings_of(bold, CHARACTERS).sum() > 1.2 * drawings_of(light, CHARACTERS).sum()


def test_no_two_drawings_are_equal():
    assert len(PLAIN.flatten(1).unique(dim=0)) == 782


def test_capitals_are_as_tall_as_promised_and_ink_is_centred():
    for (character, _), image in zip(EVERY, PLAIN, strict=True):
        rows, columns = image.amax(1).nonzero(), image.amax(0).nonzero()
        for inked in (rows, columns):
            assert abs(inked.min() + inked.max() - 31) <= 1  # the middle is at 15.5
            assert inked.max() - inked.min() + 1 <= 0.7 * 32 + 2
        if CHARACTERS[character] == "H":
            assert abs(len(rows) - 0.6 * 32) < 1.5 or abs(len(columns) - 0.7 * 32) < 2  # the wide ones are shrunk


def test_ink_is_white_on_black_and_not_even_the_largest_glyphs_reach_the_border():
    assert PLAIN.min() == 0
    assert PLAIN.amax((1, 2)).min() > 0.5
    assert PLAIN.max() == 1
    frame = torch.ones(28, 28)
    frame[1:-1, 1:-1] = 0
    largest = EVERY[[max(len(i.amax(1).nonzero()), len(i.amax(0).nonzero())) > 0.68 * 32 for i in PLAIN]]
    assert len(largest) > 100
    for corner in itertools.product([0.0, 1.0 - 1e-9], repeat=3):  # the largest scale, and every extreme of the rest
        jitter = np.tile([1.0, *corner], (len(largest), 1))
        images = render.render(largest[:, 0], largest[:, 1], size=28, jitter=jitter)
        assert (images * frame).max() < 0.02  # the faint edge of a smoothed stroke at most


def test_jitter_moves_as_read_aloud():
    number, side = 3, 3 * 28
    jitter = np.random.default_rng(0).random((number, 4))
    large = torch.from_numpy(np.stack([render._drawing(c, 5, side) for c in (10, 22, 35)])).unsqueeze(1) / 255
    moved = render._move(large, torch.from_numpy(jitter))
    row, column = np.mgrid[:side, :side].astype(float)
    for image, out, (a, b, c, d) in zip(large[:, 0].numpy(), moved[:, 0], jitter, strict=True):
        scale, turn = 0.85 + 0.25 * a, math.radians(4) * (2 * b - 1)
        x = column - (side - 1) / 2 - 0.05 * side * (2 * c - 1)  # from the new centre, ...
        y = row - (side - 1) / 2 - 0.05 * side * (2 * d - 1)
        back_x, back_y = math.cos(turn) * x + math.sin(turn) * y, -math.sin(turn) * x + math.cos(turn) * y
        came_from = np.stack([back_y, back_x]) / scale + (side - 1) / 2  # ... turned and scaled back
        assert_close(out, torch.from_numpy(map_coordinates(image, came_from, order=1)), atol=2e-4, rtol=0)


def test_no_jitter_is_the_drawing_averaged_down():
    still = glyphs(5, seed=0, size=32, jitter=False)
    for image, character, face in zip(still.images, still.characters, still.faces, strict=True):
        large = render._drawing(int(character), int(face), 96).astype(float) / 255
        slow = [[large[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].mean() for j in range(32)] for i in range(32)]
        assert_close(image[0], torch.tensor(slow, dtype=torch.float32))


def test_captions_say_what_is_drawn():
    some = glyphs(300, seed=1, size=8)
    for caption, character, face in zip(some.captions, some.characters, some.faces, strict=True):
        article, *adjectives, family, name = caption.split()
        assert article == ("an" if adjectives[:1] == ["italic"] else "a")
        assert name == CHARACTERS[character]
        assert family == FACES[face].family
        assert (" ".join(adjectives) or "regular") == FACES[face].style
        assert name in FACES[face].characters


def test_every_caption_is_as_likely_as_another_and_every_face_comes():
    drawn = glyphs(21_600, seed=2, size=8, jitter=False)
    counts = Counter(drawn.captions)
    assert set(counts) == set(glyph_classes())
    squares = sum((count - 50) ** 2 / 50 for count in counts.values())
    assert abs(squares - 431) < 4 * math.sqrt(2 * 431)
    assert len(torch.stack([drawn.characters, drawn.faces]).unique(dim=1).T) == 782


@pytest.mark.parametrize(("combinations", "held_out"), [("seen", False), ("unseen", True)])
def test_held_out_combinations_come_where_they_should(combinations, held_out):
    some = glyphs(500, seed=3, size=8, combinations=combinations, jitter=False)
    for character, face in zip(some.characters, some.faces, strict=True):
        assert ((CHARACTERS[character], FACES[face].style) in UNSEEN) is held_out
    assert set(some.captions) <= set(glyph_classes(combinations))


def test_every_character_and_every_style_is_seen_only_not_together():
    assert len(UNSEEN) == len(set(UNSEEN)) == 8 + 7 + 7 + 7  # character numbers 0 to 35 by their rest modulo 5
    assert UNSEEN[:5] == (("0", "regular"), ("1", "bold"), ("2", "italic"), ("3", "bold italic"), ("5", "regular"))
    assert max(Counter(character for character, _ in UNSEEN).values()) == 1
    assert set(Counter(style for _, style in UNSEEN)) == set(STYLES)


def test_more_images_start_with_the_same_and_the_seed_decides(global_random_states):
    before = global_random_states()
    many, few, other = glyphs(300, seed=4), glyphs(7, seed=4), glyphs(7, seed=5)
    assert_close(many.images[:7], few.images, rtol=0, atol=0)
    assert many.captions[:7] == few.captions != other.captions
    assert global_random_states() == before


def test_what_torch_is_set_to_changes_no_pixel():
    expected = glyphs(20, seed=6).images
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(glyphs(20, seed=6).images, expected, rtol=0, atol=0)
    with torch.device("meta"):
        assert_close(glyphs(20, seed=6).images, expected, rtol=0, atol=0)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert_close(glyphs(20, seed=6).images, expected, rtol=0, atol=0)
    finally:
        torch.set_default_dtype(default)


def test_a_second_call_opens_no_font(monkeypatch):
    first = glyphs(20, seed=6)
    monkeypatch.setattr(ImageFont, "truetype", None)
    assert_close(glyphs(20, seed=6).images, first.images, rtol=0, atol=0)


@pytest.mark.parametrize("size", [8, 64, 200, 256])
def test_any_size_shows_the_same_picture(size):
    small, large = glyphs(6, seed=7, size=8), glyphs(6, seed=7, size=size)
    assert large.images.shape == (6, 1, size, size)
    assert large.images.dtype == torch.float32
    averaged = torch.nn.functional.adaptive_avg_pool2d(large.images, 8)
    assert (averaged - small.images).abs().mean() < 0.01


def test_examples_number_characters_styles_and_captions():
    some = glyphs(50, seed=8)
    character, style, caption = (some.examples(target) for target in ("character", "style", "caption"))
    assert_close(character.y, some.characters)
    assert [style.classes[y] for y in style.y] == [FACES[face].style for face in some.faces]
    assert [caption.classes[y] for y in caption.y] == some.captions
    assert repr(some) == "Glyphs(50 images of 28x28)"
    assert len(some) == 50


def test_only_what_is_asked_for_comes():
    some = glyphs(200, seed=9, size=8, characters="BA", faces=[3, 0])
    assert set(some.captions) == {"a sans A", "a bold italic sans A", "a sans B", "a bold italic sans B"}
    assert len(glyphs(0, seed=0)) == len(glyphs(0, seed=0).examples("caption")) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: glyphs(-1, seed=0), "got num=-1 and seed=0"),
        (lambda: glyphs(1, seed=-3), "got num=1 and seed=-3"),
        (lambda: glyphs(1, seed=0, size=7), "from 8 to 256 pixels, got 7"),
        (lambda: glyphs(1, seed=0, size=257), "got 257"),
        (lambda: glyphs(1, seed=0, characters="aB"), r"got \['a'\] in 'aB'"),
        (lambda: glyphs(1, seed=0, faces=[22]), r"from 0 to 21, got \[22\]"),
        (lambda: glyphs(1, seed=0, combinations="new"), "'all', 'seen' or 'unseen', got 'new'"),
        (lambda: glyphs(1, seed=0, characters="4", combinations="unseen"), "no 'unseen' combination has .* '4'"),
        (lambda: glyphs(1, seed=0, faces=[19], characters="3"), r"in one of the faces \[19\]"),
        (lambda: glyphs(1, seed=0).examples("face"), "'character', 'style' or 'caption', got 'face'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
