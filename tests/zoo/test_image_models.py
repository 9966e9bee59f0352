"""The zoo's image models: networks, cards, folders checked byte by byte, what they say to a mistake."""

import json

import pytest
import torch
from torch.testing import assert_close

from course_lib.diffusion import flow_heun, guided
from course_lib.nn.unet import UNet
from course_lib.zoo import (
    Classifier,
    DamagedModel,
    ImageCard,
    ImageGenerator,
    ImageNetwork,
    load,
    load_classifier,
    load_generator,
    save_images,
)

EXACT = {"rtol": 0, "atol": 0}
DIGITS = [str(number) for number in range(10)]


def card(kind, architecture, classes, **changes):
    fields = {
        "kind": kind,
        "architecture": architecture,
        "num_parameters": 1234,
        "images": "8x8",
        "classes": classes,
        "data": "made up",
        "data_licence": "CC0-1.0",
        "licence": "Apache-2.0",
        "limits": "Do not use it.",
        "recipe": "make tiny",
        "seed": 3,
        "training": {"image_size": 8, "steps": 12_345},
        "versions": {"torch": "2.0"},
        "measured": "On nothing.",
        "scores": {"this model": {"digit": 0.5, "face": 0.25}, "chance": {"digit": 0.1}},
    }
    return ImageCard("tiny", "Knows nothing.", **(fields | changes))


def rounded(network):
    """Its weights are such that bf16 holds them exactly."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():  # moved a little, because the last layer of a new U-Net is 0
            weight.copy_((weight + 0.02 * torch.randn(weight.shape, generator=generator)).bfloat16())
    return network.eval()


@pytest.fixture
def classifier():
    architecture = {"image_size": 8, "heads": {"digit": 10, "face": 2}, "widths": [8, 16], "feature_width": 6}
    network = ImageNetwork(**architecture, generator=torch.Generator().manual_seed(0))
    return Classifier(rounded(network), card("classifier", architecture, {"digit": DIGITS, "face": ["a", "b"]}))


@pytest.fixture
def generator():
    architecture = {"width": 8, "multipliers": [1, 2], "num_classes": 10}
    network = UNet(**architecture, generator=torch.Generator().manual_seed(0))
    return ImageGenerator(rounded(network), card("generator", architecture, {"digit": DIGITS}))


@pytest.fixture
def images():
    return torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class TestClassifier:
    def test_predictions_are_the_largest_logits_and_those_come_from_the_features(self, classifier, images):
        features = classifier.features(images)
        assert features.shape == (7, 6)
        for head in ("digit", "face"):
            layer = classifier.network.heads[head]
            expected = torch.relu(features) @ layer.weight.T + layer.bias
            assert_close(classifier.logits(images, head), expected)
            assert torch.equal(classifier.predict(images, head), expected.argmax(-1))
        assert torch.equal(classifier.predict(images), classifier.predict(images, "digit"))
        assert classifier.heads == {"digit": 10, "face": 2}

    def test_an_image_is_seen_alone(self, classifier, images, monkeypatch):
        """Neither the images beside it nor how many are taken at a time matter but for rounding."""
        whole = classifier.features(images)
        monkeypatch.setattr("course_lib.zoo.classifier._AT_ONCE", 2)
        assert_close(classifier.features(images), whole)
        assert_close(classifier.features(images.double()[3:4]), whole[3:4])

    def test_no_images_give_no_features(self, classifier, images):
        assert classifier.features(images[:0]).shape == (0, 6)
        assert classifier.predict(images[:0]).shape == (0,)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (torch.zeros(2, 1, 28, 28), r"needs images \(N, 1, 8, 8\), got \(2, 1, 28, 28\)"),
            (torch.zeros(2, 8, 8), r"takes floating-point images \(N, 1, S, S\) in \[0, 1\], got torch.float32"),
            (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "got torch.uint8"),
        ],
    )
    def test_other_images_are_refused(self, classifier, wrong, message):
        with pytest.raises(ValueError, match=message):
            classifier.features(wrong)

    def test_another_head_is_refused(self, classifier, images):
        with pytest.raises(ValueError, match="tiny has no head 'colour'; it has digit, face"):
            classifier.predict(images, "colour")

    def test_a_card_of_other_classes_is_refused(self, classifier):
        other = card("classifier", classifier.card.architecture, {"digit": DIGITS})
        with pytest.raises(ValueError, match=r"the card speaks of {'digit': 10} classes, the network has .*'face': 2"):
            Classifier(classifier.network, other)

    def test_a_network_without_heads_is_refused(self):
        with pytest.raises(ValueError, match="a network needs heads"):
            ImageNetwork(8, {})
        with pytest.raises(ValueError, match=r"multiples of 8, got .* widths \(12,\)"):
            ImageNetwork(8, {"digit": 10}, widths=(12,))


class TestGenerator:
    def test_samples_are_what_the_sampler_gives_in_the_range_of_images(self, generator):
        labels = torch.tensor([3, -1, 0])
        noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))
        inside = flow_heun(guided(generator.network, labels, 2.0), noise, num_steps=3)
        found = generator.sample(labels, num_steps=3, guidance=2.0, seed=5)
        assert_close(found, (inside.clamp(-1, 1) + 1) / 2)
        assert 0 <= found.min() < found.max() <= 1

    def test_an_image_depends_on_the_seed_its_place_and_its_label_alone(self, generator, monkeypatch):
        labels = torch.arange(5)
        whole = generator.sample(labels, num_steps=2)
        monkeypatch.setattr("course_lib.zoo.image_generator._AT_ONCE", 2)
        assert_close(generator.sample(labels, num_steps=2), whole)
        assert_close(generator.sample([0, 1, 2], num_steps=2), whole[:3])
        assert not torch.allclose(generator.sample(labels, num_steps=2, seed=1), whole, atol=0.05)

    def test_no_labels_give_no_images(self, generator):
        assert generator.sample(torch.zeros(0, dtype=torch.int64)).shape == (0, 1, 8, 8)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (torch.tensor([10]), "labels must lie in 0 to 9, or be -1 for any, got 10 to 10"),
            (torch.tensor([-2]), "got -2 to -2"),
            (torch.tensor([1.0]), "labels must be int64"),
            (torch.tensor(1), r"of shape \(\)"),
        ],
    )
    def test_labels_that_are_no_classes_are_refused(self, generator, labels, message):
        with pytest.raises(ValueError, match=message):
            generator.sample(labels)

    def test_a_card_with_two_questions_is_refused(self, generator):
        other = card("generator", {}, {"digit": DIGITS, "face": ["a"]})
        with pytest.raises(ValueError, match=r"one kind of classes, the card names \['digit', 'face'\]"):
            ImageGenerator(generator.network, other)


class TestFolders:
    def test_what_was_saved_comes_back_bit_for_bit(self, classifier, generator, images, tmp_path):
        stated = save_images(tmp_path / "c", classifier)
        back = load_classifier(f"{tmp_path}/c")
        assert_close(back.features(images), classifier.features(images), **EXACT)
        assert back.card == stated
        save_images(tmp_path / "g", generator)
        labels = torch.arange(3)
        again = load_generator(f"{tmp_path}/g").sample(labels, num_steps=2)
        assert_close(again, generator.sample(labels, num_steps=2), **EXACT)

    def test_weights_take_two_bytes_each(self, classifier, tmp_path):
        save_images(tmp_path, classifier)
        num_weights = sum(weight.numel() for weight in classifier.network.parameters())
        assert 0 < (tmp_path / "weights.safetensors").stat().st_size - 2 * num_weights < 4000

    def test_loading_leaves_the_random_generator_alone(self, classifier, tmp_path):
        save_images(tmp_path, classifier)
        before = torch.get_rng_state()
        load_classifier(f"{tmp_path}/")
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_model_of_another_kind_is_named(self, generator, tmp_path):
        save_images(tmp_path, generator)
        with pytest.raises(ValueError, match=r"expected a classifier in .*, its card says 'generator'"):
            load_classifier(f"{tmp_path}/")
        with pytest.raises(ValueError, match=r"'python_text' is a language model: load it with course_lib\.zoo\.load"):
            load_classifier("python_text")
        with pytest.raises(ValueError, match=r"'digit_classifier' is a classifier: .*course_lib\.zoo\.load_classifier"):
            load("digit_classifier")
        with pytest.raises(ValueError, match=r"there is no model 'eyes' in the zoo; there are: .*digit_classifier"):
            load_classifier("eyes")
        with pytest.raises(ValueError, match=r"expected a model in .*, found no card\.json there"):
            load_generator(f"{tmp_path}/nowhere")

    @pytest.mark.parametrize(
        ("harm", "message"),
        [
            (lambda stated: stated.pop("seed"), "is no model card: .*; wrong: seed"),
            (lambda stated: stated.update(colour="red"), "wrong: colour"),
            (lambda stated: stated["architecture"].update(feature_width=7), "do not fit its card"),
            (lambda stated: stated["architecture"].update(depth=7), "do not fit its card: .*depth"),
            (lambda stated: stated.update(files={}), r"names no weights\.safetensors"),
            (lambda stated: stated.update(files=3), "files must map names to hashes, got 3"),
        ],
    )
    def test_a_card_that_does_not_fit_is_named(self, classifier, tmp_path, harm, message):
        save_images(tmp_path, classifier)
        stated = json.loads((tmp_path / "card.json").read_text())
        harm(stated)
        (tmp_path / "card.json").write_text(json.dumps(stated))
        with pytest.raises(DamagedModel, match=message):
            load_classifier(f"{tmp_path}/")

    def test_damaged_weights_are_named(self, classifier, tmp_path):
        save_images(tmp_path, classifier)
        path = tmp_path / "weights.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamagedModel, match=r"weights\.safetensors is not the file its card names"):
            load_classifier(f"{tmp_path}/")

    def test_the_page_says_it_all(self, classifier):
        page = classifier.card.markdown()
        for said in (
            "# tiny\n\nKnows nothing.\n",
            "- **Parameters:** 1,234",
            "- **Classes (face):** a, b",
            "| model | digit | face |\n| --- | --- | --- |\n| this model | 0.5 | 0.25 |\n| chance | 0.1 |  |",
            "```\nmake tiny\n```",
            "- steps: 12,345\n- seed: 3",
        ):
            assert said in page
