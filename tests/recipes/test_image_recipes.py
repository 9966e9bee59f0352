"""The recipes for image models: what they write, that an interruption changes nothing, what they say to a mistake."""

import re
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.data import digits, split
from course_lib.data.augment import random_affine
from course_lib.evaluation.generation import frechet_distance
from course_lib.loops.fit_record import FitRecord
from course_lib.recipes import classify_images, train_diffusion
from course_lib.recipes.image_data import ImageData, image_data
from course_lib.recipes.judging import judged
from course_lib.recipes.tensor_training import TensorSettings
from course_lib.zoo import load_classifier, load_generator

EXACT = {"rtol": 0, "atol": 0}
SETTINGS = TensorSettings(steps=24, batch_size=16, warmup=4, learning_rate=3e-3, ema=0.0)


@pytest.fixture(scope="module")
def bars():
    """Upright and level bars with a little noise, thin or thick: two questions that a glance answers."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (160, 2), generator=draw)
    images = 0.1 * torch.rand(160, 1, 8, 8, generator=draw)
    for image, (level, thick) in zip(images, labels.tolist(), strict=True):
        width = slice(2, 6) if thick else slice(3, 5)
        bar = image[0, width] if level else image[0, :, width]
        bar += 0.9
    parts = (images[:80], labels[:80]), (images[80:], labels[80:])
    return ImageData(*parts, {"way": ["up", "across"], "width": ["thin", "thick"]}, "bars", "CC0-1.0")


@pytest.fixture(scope="module")
def judge(bars, tmp_path_factory):
    out = tmp_path_factory.mktemp("judge")
    return classify_images.classify_images(
        bars, SETTINGS, out=out, name="judge", recipe="by hand", feature_width=8, every=10, progress=False
    ), out


def diffusion(bars, judge, out, **options):
    chosen = {"width": 8, "multipliers": (1, 2), "num_judged": 32, "every": 10} | options
    settings = chosen.pop("settings", SETTINGS)
    return train_diffusion.train_diffusion(
        bars, settings, judge=judge, out=out, name="bars", recipe="by hand", progress=False, **chosen
    )


@pytest.fixture
def command(monkeypatch, capsys):
    """A function that runs one of the commands in this process and returns its exit code, output and complaints."""

    def start(recipe, *arguments):
        monkeypatch.setattr(sys, "argv", ["recipe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            recipe.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return start


class TestData:
    def test_digits_are_split_as_everyone_can_split_them(self):
        found = image_data("digits")
        train, test = split(digits(), (0.8, 0.2), seed=0)
        assert torch.equal(found.train[0], train.x)
        assert torch.equal(found.test[1][:, 0], test.y)
        assert list(found.classes) == ["digit"]
        assert found.image_size == 8

    def test_glyphs_have_two_questions_and_others_are_held_out(self, monkeypatch):
        monkeypatch.setattr("course_lib.recipes.image_data._TEST_GLYPHS", 60)
        found = image_data("glyphs", num_glyphs=50, seed=3)
        assert {name: len(classes) for name, classes in found.classes.items()} == {"character": 36, "face": 22}
        assert found.train[0].shape == (50, 1, 28, 28)
        assert not torch.equal(found.test[0][:50], found.train[0])
        other = image_data("glyphs", num_glyphs=50, seed=4)
        assert found.digest() != other.digest()
        assert found.digest() == image_data("glyphs", num_glyphs=50, seed=3).digest()

    def test_mistakes_are_named(self):
        with pytest.raises(ValueError, match="data must be one of digits, mnist_small, glyphs, got 'cifar'"):
            image_data("cifar")
        with pytest.raises(ValueError, match="the number of glyphs must be at least 1, got 0"):
            image_data("glyphs", num_glyphs=0)


class TestClassifier:
    def test_it_has_learnt_and_its_card_says_how_well(self, judge, bars):
        found, out = judge
        back = load_classifier(f"{out}/model")
        images, labels = bars.test
        for column, head in enumerate(("way", "width")):
            share = (back.predict(images, head) == labels[:, column]).double().mean().item()
            assert found.card.scores["this model"][head] == pytest.approx(share, abs=5e-5)
            assert share > 0.9
            assert found.card.scores["chance"][head] == 0.5
        assert back.card == found.card
        assert_close(back.features(images), found.features(images), **EXACT)

    def test_its_loss_is_the_sum_over_questions_on_changed_images(self, judge, bars):
        network = judge[0].network
        images, labels = (tensor[:5] for tensor in bars.train)
        objective = classify_images.augmented_classification(
            ["way", "width"], generator=torch.Generator().manual_seed(7)
        )
        loss = objective(network, (images, labels))
        changed = random_affine(
            images,
            generator=torch.Generator().manual_seed(7),
            degrees=8.0,
            translate=0.05,
            scale=(0.93, 1.07),
            shear=5.0,
        )
        logits = network(changed)
        expected = sum(F.cross_entropy(logits[head], labels[:, i], reduction="sum") for i, head in enumerate(logits))
        assert_close(loss.total, expected)
        assert loss.count == 5
        assert loss.metrics["width_accuracy"] == (logits["width"].argmax(-1) == labels[:, 1]).sum()

    def test_interrupted_and_started_again_it_ends_with_the_same_bits(self, judge, bars, tmp_path, monkeypatch):
        take = FitRecord.take

        def interrupt(record, step):
            if step.index == 15:
                raise KeyboardInterrupt
            take(record, step)

        def train():
            return classify_images.classify_images(
                bars, SETTINGS, out=tmp_path, name="a", recipe="", feature_width=8, every=10, progress=False
            )

        monkeypatch.setattr(FitRecord, "take", interrupt)
        with (
            pytest.warns(UserWarning, match="interrupted after"),
            pytest.raises(
                KeyboardInterrupt, match="after 15 of 24 updates: a rerun goes on from the checkpoint at update 10"
            ),
        ):
            train()
        monkeypatch.setattr(FitRecord, "take", take)
        assert_close(train().network.state_dict(), judge[0].network.state_dict(), **EXACT)

    def test_another_setting_in_the_same_folder_is_refused(self, judge, bars):
        with pytest.raises(ValueError, match=r"learning_rate was 0\.003 and is 0\.001"):
            classify_images.classify_images(
                bars, replace(SETTINGS, learning_rate=1e-3), out=judge[1], name="", recipe="", feature_width=8
            )


class TestGenerator:
    def test_the_folder_holds_the_model_and_its_card_the_scores(self, bars, judge, tmp_path):
        found = diffusion(bars, judge[0], tmp_path)
        back = load_generator(f"{tmp_path}/model")
        drawn = back.sample(torch.arange(32) % 2)
        assert_close(drawn, found.sample(torch.arange(32) % 2), **EXACT)
        score = back.card.scores["this model"]
        features = [judge[0].features(images) for images in (drawn, bars.test[0][:32])]
        assert score["Frechet distance"] == pytest.approx(frechet_distance(*features), abs=5e-4)
        assert score["read as asked"] == (judge[0].predict(drawn) == torch.arange(32) % 2).double().mean().item()
        assert back.classes == ["up", "across"]
        assert back.image_size == 8

    def test_averaged_weights_are_the_result_where_asked_for(self, bars, judge, tmp_path):
        plain = diffusion(bars, judge[0], tmp_path / "a")
        slow = diffusion(bars, judge[0], tmp_path / "b", settings=replace(SETTINGS, ema=0.9))
        distance = sum(
            (p - q).norm() for p, q in zip(plain.network.parameters(), slow.network.parameters(), strict=True)
        )
        assert distance > 0.1

    def test_real_images_score_as_the_best_and_class_means_lack_variety(self, bars, judge, tmp_path):
        generator = diffusion(bars, judge[0], tmp_path)
        _, scores = judged(generator, judge[0], bars, num=40)
        assert scores["mean image of the class"]["recall"] <= 2 / 40
        assert scores["mean image of the class"]["read as asked"] == 1.0
        assert scores["real images"]["Frechet distance"] < scores["mean image of the class"]["Frechet distance"]

    def test_mistakes_are_named(self, bars, judge, tmp_path):
        with pytest.raises(ValueError, match="the judge judge does not tell the 2 classes of 'colour' apart"):
            diffusion(replace(bars, classes={"colour": ["red", "blue"]}), judge[0], tmp_path)
        with pytest.raises(ValueError, match="twice as many of the 80 held-out images, got 41"):
            diffusion(bars, judge[0], tmp_path, num_judged=41)


class TestCommands:
    def test_digits_from_the_command_line(self, command, tmp_path):
        small = ["--data", "digits", "--steps", 3, "--warmup", 1, "--batch-size", 8, "--no-progress", "--device", "cpu"]
        code, out, _ = command(classify_images, *small, "--out", tmp_path / "eyes", "--feature-width", 8)
        assert (code, "chance: digit 0.1000" in out) == (0, True)
        assert load_classifier(f"{tmp_path}/eyes/model").card.recipe.startswith(
            "python -m course_lib.recipes.classify_images --data digits --steps 3"
        )
        net = ["--width", 8, "--multipliers", "1,2", "--num-judged", 40, "--judge", tmp_path / "eyes" / "model"]
        code, out, _ = command(train_diffusion, *small, *net, "--out", tmp_path / "hand", "--name", "scribbler")
        assert (code, "real images: Frechet distance" in out) == (0, True)
        assert load_generator(f"{tmp_path}/hand/model").card.name == "scribbler"

    @pytest.mark.parametrize(
        ("recipe", "arguments", "message"),
        [
            (classify_images, ["--data", "digits", "--steps", "3"], r"warmup must be .* less than steps \(3\), got 50"),
            (
                train_diffusion,
                ["--data", "mnist_small"],
                "no classifier of mnist_small comes with the course: train one",
            ),
            (train_diffusion, ["--data", "digits", "--judge", "eyes"], "there is no model 'eyes' in the zoo"),
            (train_diffusion, ["--data", "digits", "--multipliers", "1;2"], "whole numbers with commas, .* got '1;2'"),
            (classify_images, ["--data", "digits", "--ema", "1"], "ema must be at least 0 and less than 1"),
        ],
    )
    def test_a_mistake_is_one_line_and_code_2(self, command, tmp_path, recipe, arguments, message):
        code, _, err = command(recipe, *arguments, "--out", tmp_path / "run")
        assert code == 2
        assert re.fullmatch(rf"{recipe.__name__.rpartition('.')[2]}: .*{message}.*\n", err)

    @pytest.mark.parametrize("recipe", [classify_images, train_diffusion])
    def test_an_interruption_says_where_a_rerun_goes_on(self, command, tmp_path, monkeypatch, recipe):
        def interrupt(record, step):
            raise KeyboardInterrupt

        monkeypatch.setattr(FitRecord, "take", interrupt)
        with pytest.warns(UserWarning, match="interrupted after"):
            code, _, err = command(recipe, "--data", "digits", "--device", "cpu", "--no-progress", "--out", tmp_path)
        assert code == 130
        name = recipe.__name__.rpartition(".")[2]
        num = 1000 if recipe is classify_images else 3000
        said = f"interrupted after 1 of {num} updates, before the first checkpoint: a rerun begins anew."
        assert f"{name}: {said}\n" in err

    def test_out_that_is_a_file_is_said_before_any_data_are_made(self, command, tmp_path, monkeypatch):
        monkeypatch.setattr(classify_images, "image_data", None)
        (tmp_path / "file").write_text("")
        code, _, err = command(classify_images, "--data", "digits", "--out", tmp_path / "file", "--no-progress")
        assert code == 2
        assert "out must be a folder, but" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and at least 0"),
        ({"ema": 1.0}, "ema must be at least 0 and less than 1"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, fp16"),
    ],
)
def test_settings_that_cannot_be_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)
