"""Figures: small, told in words, closed after showing, in colours that everybody can tell apart."""

import base64
import io
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from course_lib.notebook import COLORS, GREY, figure, images, show
from course_lib.notebook import style as module

ALT = "Two falling curves; the validation curve turns upwards after step 40, the training curve does not."
# Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# severity 1.0, on linear RGB.
DEFICIENCY = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.fixture(autouse=True)
def untouched_settings():
    with plt.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def displayed(monkeypatch):
    """What was displayed, as (bundle, keyword arguments)."""
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda bundle, **kwargs: shown.append((bundle, kwargs)))
    return shown


def linear(channel):
    return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)


def lab(rgb_linear):
    """CIE L*a*b* of linear sRGB, white point D65."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.cbrt(np.asarray(to_xyz) @ np.clip(rgb_linear, 0, 1) / [0.95047, 1.0, 1.08883])  # no colour is so dark
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCY)
def test_colours_can_be_told_apart(deficiency):
    """A CIE76 difference of 2.3 is just noticeable; ten is plain to see."""
    seen = [lab(np.asarray(DEFICIENCY[deficiency]) @ linear(np.array(to_rgb(color)))) for color in COLORS]
    closest = min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))
    assert closest > 10


def test_a_figure_is_shown_small_with_words_and_then_closed(displayed):
    fig, ax = figure()
    ax.plot(np.random.default_rng(0).normal(size=(200, 6)).cumsum(0))
    show(fig, ALT.replace(" ", "\n    "))
    ((bundle, kwargs),) = displayed
    assert bundle["text/plain"] == ALT
    assert kwargs == {"metadata": {"image/png": {"alt": ALT}}, "raw": True}
    png = base64.b64decode(bundle["image/png"])
    assert len(png) <= 60_000
    assert Image.open(io.BytesIO(png)).size == (660, 340)
    assert not plt.fignum_exists(fig.number)


def test_the_same_figure_gives_the_same_bytes(displayed):
    """Stored notebooks change only where their content does: no time stamp, no version in the picture."""
    for _ in range(2):
        fig, ax = figure(2, 2)
        ax.plot([0, 1], [1, 0])
        show(fig, ALT)
    assert displayed[0] == displayed[1]


def test_words_that_say_nothing_are_refused(displayed):
    fig, _ = figure()
    with pytest.raises(ValueError, match="got 'a plot'"):
        show(fig, "a    plot")
    assert displayed == []


def test_a_picture_that_is_too_large_is_refused(displayed):
    fig, ax = figure(8, 8)
    ax.imshow(np.random.default_rng(0).random((600, 600, 3)))
    with pytest.raises(ValueError, match="more than 60,000: make it smaller or simpler"):
        show(fig, ALT)
    assert displayed == []


def test_256_colours_do_not_change_a_drawing():
    fig, ax = figure(3, 2)
    for value in range(6):
        ax.plot([0, 1], [value, value])
    drawn = np.asarray(Image.open(io.BytesIO(module._small_png(fig))).convert("RGB")).reshape(-1, 3)
    for color in COLORS:
        assert np.abs(drawn - 255 * np.array(to_rgb(color))).max(1).min() <= 2


def test_axes_as_from_subplots():
    _, axes = figure(rows=2, columns=3, sharey=True)
    assert axes.shape == (2, 3)
    colors = axes[0, 0]._get_lines
    assert [colors.get_next_color() for _ in range(6)] == list(COLORS)
    assert GREY not in COLORS


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 1, 8, 8)])
def test_pictures_are_laid_out_in_rows_with_their_labels(shape):
    pictures = np.random.default_rng(0).random(shape)
    _, ax = figure()
    images(ax, pictures, labels="abcde", columns=3)
    assert len(ax.images) == 5
    for drawn, picture in zip(ax.images, pictures, strict=True):
        np.testing.assert_array_equal(drawn.get_array(), picture.reshape(8, 8))
        assert (drawn.norm.vmin, drawn.norm.vmax) == (0, 1)
    corners = [drawn.get_extent() for drawn in ax.images]
    assert [left for left, *_ in corners] == pytest.approx([0, 1.15, 2.3, 0, 1.15])
    assert [top for *_, top in corners] == pytest.approx([0, 0, 0, 1.5, 1.5])
    assert [text.get_text() for text in ax.texts] == list("abcde")
    for text, (left, right, bottom, _) in zip(ax.texts, corners, strict=True):
        x, y = text.get_position()
        assert left < x < right
        assert bottom < y < bottom + 0.5  # just under its picture: y points down
