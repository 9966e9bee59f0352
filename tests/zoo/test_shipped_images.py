"""The image models that come with the course are those their cards describe, and as good as those say."""

import shlex

import pytest
import torch

from course_lib.data import digits, split
from course_lib.data.glyphs import glyphs
from course_lib.evaluation.generation import frechet_distance, frechet_floor, nearest_neighbours
from course_lib.zoo import load_classifier, load_generator, names
from course_lib.zoo.files import SHIPPED

RECIPES = {"classifier": "classify_images", "generator": "train_diffusion"}
LOADERS = {"classifier": load_classifier, "generator": load_generator}


@pytest.fixture(scope="module")
def parts():
    """The digits that were learnt from, and those held out."""
    return split(digits(), (0.8, 0.2), seed=0)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in RECIPES for name in names(kind)])
def test_each_is_small_and_its_page_is_its_card(kind, name):
    model = LOADERS[kind](name)
    assert sum(path.stat().st_size for path in (SHIPPED / name).iterdir()) < 1.5e6
    assert (SHIPPED / name / "README.md").read_text(encoding="utf-8") == model.card.markdown()
    assert sum(weight.numel() for weight in model.network.parameters()) == model.card.num_parameters
    assert model.card.name == name
    words = shlex.split(model.card.recipe)
    assert words[:3] == ["python", "-m", f"course_lib.recipes.{RECIPES[kind]}"]
    assert words[words.index("--out") + 1] == name


def test_the_course_has_these():
    assert names("classifier") == ["digit_classifier", "glyph_classifier"]
    assert names("generator") == ["digits_flow", "glyphs_flow"]


def test_the_digit_classifier_reads_held_out_digits_as_its_card_says(parts):
    reader = load_classifier("digit_classifier")
    share = (reader.predict(parts[1].x) == parts[1].y).double().mean().item()
    assert share == pytest.approx(reader.card.scores["this model"]["digit"], abs=1.5 / 359)  # rounding may tip one
    assert share > reader.card.scores["nearest training image"]["digit"] - 0.01


def test_its_features_tell_real_digits_from_spoilt_ones(parts):
    """The distance is above that of real digits from real digits, and grows with the noise."""
    reader = load_classifier("digit_classifier")
    first, other = parts[1].x[:179], parts[1].x[179:358]
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    real = reader.features(first)
    pale, lost = (frechet_distance(real, reader.features((other + std * noise).clamp(0, 1))) for std in (0.4, 0.8))
    floor = frechet_floor(reader.features(parts[1].x), num_samples=179, num_splits=5, seed=0)
    assert 1.5 * floor.max() < pale < lost


def test_the_glyph_classifier_reads_fresh_glyphs_as_its_card_says():
    reader = load_classifier("glyph_classifier")
    fresh = glyphs(500, seed=987)
    for head, labels, tolerance in (("character", fresh.characters, 0.02), ("face", fresh.faces, 0.07)):
        share = (reader.predict(fresh.images, head) == labels).double().mean().item()
        assert share == pytest.approx(reader.card.scores["this model"][head], abs=tolerance)  # of 500: 3 deviations


def test_drawn_digits_are_legible_and_no_copies(parts):
    """Read as asked, and no nearer to what was learnt from than digits are that it never saw."""
    drawn = load_generator("digits_flow").sample(torch.arange(100) % 10, seed=1)
    reader = load_classifier("digit_classifier")
    assert (reader.predict(drawn) == torch.arange(100) % 10).double().mean() >= 0.95
    distance = nearest_neighbours(drawn, parts[0].x).distances.median()
    assert distance > 0.8 * nearest_neighbours(parts[1].x, parts[0].x).distances.median()


def test_drawn_glyphs_are_legible():
    """Read as the card says, 0.96 of 1,000; of 72, three deviations less."""
    labels = torch.arange(72) % 36
    drawn = load_generator("glyphs_flow").sample(labels, seed=1)
    read = load_classifier("glyph_classifier").predict(drawn, "character")
    assert (read == labels).double().mean() >= 0.89
