"""The recipe for a reward model: what is compared by whom, what is written, what it says to a mistake."""

import re
from dataclasses import asdict, replace

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import Preferences, RewardModel, reward_accuracy, score_completions, story_taste
from course_lib.data.tales import tales
from course_lib.nn.transformer import Transformer, llama
from course_lib.recipes import train_reward_model
from course_lib.recipes.comparisons import compared, judged_by_rater
from course_lib.recipes.tensor_training import TensorSettings
from course_lib.tokenization import train_bpe
from course_lib.zoo import Card, Pretrained, load_reward_model, save

EXACT = {"rtol": 0, "atol": 0}
SETTINGS = TensorSettings(steps=6, batch_size=8, warmup=1, learning_rate=1e-3, ema=0.0)


@pytest.fixture(scope="module")
def base():
    """A small model that knows no story; what it writes is noise of many lengths."""
    texts = [tale.text for tale in tales(30, seed=0)]
    tokenizer = train_bpe(texts, vocab_size=300, special_tokens=["<|endoftext|>"])
    config = llama(vocab_size=300, width=16, num_layers=1, num_heads=2, context_length=48, tied=True)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    card = Card(
        "tiny",
        "",
        architecture=asdict(config),
        num_parameters=0,
        tokenizer="",
        data="",
        data_licence="CC0-1.0",
        licence="",
        limits="",
        recipe="",
        seed=0,
        training={},
        versions={},
        validation={},
    )
    return Pretrained(model, tokenizer, card)


def train(base, out, **options):
    chosen = {"num_pairs": 40, "temperature": 0.5, "length_bias": 0.1} | options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_reward_model, "_NUM_TEST", 30)
        return train_reward_model.train_reward_model(
            base, chosen.pop("settings", SETTINGS), out=out, name="judge", recipe="by hand", progress=False, **chosen
        )


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("judge")
    return train(base, out), out


class TestComparisons:
    def test_the_rater_is_the_one_asked_for_and_test_texts_are_others(self, base):
        found = compared(base, num_train=200, num_test=50, temperature=0.3, length_bias=0.1, seed=1)
        assert (len(found.train), len(found.test)) == (200, 50)
        assert {tuple(prompt) for prompt in found.train.prompts} == {(base.separator,)}
        chosen, rejected = found.texts(found.train.chosen), found.texts(found.train.rejected)
        expected = found.rater.probability(chosen, rejected)
        assert_close(found.train.probability, expected)
        worth = [
            story_taste(texts) + 0.1 * torch.tensor([len(text.split()) for text in texts])
            for texts in (chosen, rejected)
        ]
        assert_close(expected, ((worth[0] - worth[1]) / 0.3).sigmoid())
        assert expected.mean() > 0.6
        learnt = {*found.texts(found.train.chosen), *found.texts(found.train.rejected)}
        assert not learnt & {*found.texts(found.test.chosen), *found.texts(found.test.rejected)}

    def test_the_same_seed_gives_the_same_comparisons(self, base, monkeypatch):
        first, again = (
            compared(base, num_train=5, num_test=3, temperature=0.3, length_bias=0.1, seed=seed) for seed in (1, 1)
        )
        assert (first.train.chosen, first.test.rejected) == (again.train.chosen, again.test.rejected)
        other = compared(base, num_train=5, num_test=3, temperature=0.3, length_bias=0.1, seed=2)
        assert other.train.chosen != first.train.chosen

    def test_scores_are_those_of_the_library_and_slopes_those_of_the_rater(self, base):
        encode = base.tokenizer.encode
        some = [encode(tale.text)[: 12 + 9 * (number % 4)] for number, tale in enumerate(tales(120, seed=1))]
        short = ["The fox was kind.", "Fox fox.", "Once upon a time there was a fox."]
        some[::2] = [encode(short[number % 3]) for number in range(60)]
        found = replace(
            compared(base, num_train=1, num_test=1, temperature=0.3, length_bias=0.5, seed=1),
            test=Preferences([[base.separator]] * 60, some[:60], some[60:], torch.full((60,), 0.5).double()),
        )
        model = RewardModel(Transformer(base.model.config, generator=torch.Generator().manual_seed(1)).eval())
        torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
        _, scores = judged_by_rater(model, found)
        rewards = [
            score_completions(model, found.test.prompts, side) for side in (found.test.chosen, found.test.rejected)
        ]
        assert scores["this model"]["agrees with the rater"] == pytest.approx(reward_accuracy(*rewards), abs=5e-5)
        known = scores["the rater's own worth"]
        assert known["reward for a word"] == pytest.approx(0.5 / 0.3, abs=1e-4)
        assert known["reward for a unit of taste"] == pytest.approx(1 / 0.3, abs=1e-4)
        assert scores["whatever is longer"]["correlation with the number of words"] == 1.0

    def test_mistakes_are_named(self, base):
        with pytest.raises(ValueError, match="at least 1 comparison of either kind, got 0 and 5"):
            compared(base, num_train=0, num_test=5, temperature=0.3, length_bias=0.1, seed=1)
        with pytest.raises(ValueError, match="temperature must be positive"):
            compared(base, num_train=1, num_test=5, temperature=0.0, length_bias=0.1, seed=1)


class TestWhatItWrites:
    def test_the_folder_holds_the_model_and_its_card_the_scores(self, base, trained):
        found, out = trained
        back = load_reward_model(f"{out}/model")
        texts = ["Once there was a fox.", ""]
        assert_close(back.score(texts), found.score(texts), **EXACT)
        assert back.card == found.card
        assert back.card.kind == "reward model"
        again = compared(base, num_train=40, num_test=30, temperature=0.5, length_bias=0.1, seed=0)
        assert judged_by_rater(back.model, again) == (back.card.measured, back.card.scores)

    def test_texts_like_those_it_has_read_are_worth_nothing_on_average(self, base, trained):
        again = compared(base, num_train=40, num_test=30, temperature=0.5, length_bias=0.1, seed=0)
        pairs = again.train
        rewards = score_completions(trained[0].model, pairs.prompts * 2, [*pairs.chosen, *pairs.rejected])
        assert rewards.mean().abs() < 0.01 * max(1.0, float(trained[0].model.head.bias.abs()))  # the bias is bf16

    def test_it_begins_from_the_base_which_is_left_alone(self, base, trained):
        before = {name: weight.clone() for name, weight in base.model.state_dict().items()}
        found = train(base, trained[1])  # finished already: what was trained is read back
        assert_close(base.model.state_dict(), before, **EXACT)
        assert_close(found.model.state_dict(), trained[0].model.state_dict(), **EXACT)
        distance = (found.model.transformer.embedding.weight - base.model.embedding.weight).abs().max()
        assert 0 < distance < 10 * SETTINGS.steps * SETTINGS.learning_rate

    def test_the_mean_can_be_read_instead(self, base, tmp_path):
        found = train(base, tmp_path, pooling="mean")
        back = load_reward_model(f"{tmp_path}/model")
        assert back.model.pooling == back.card.architecture["pooling"] == "mean"
        assert_close(back.score(["A fox."]), found.score(["A fox."]), **EXACT)

    def test_other_noise_in_the_same_folder_is_refused(self, base, trained):
        with pytest.raises(ValueError, match=r"temperature was 0\.5 and is 0\.7"):
            train(base, trained[1], temperature=0.7)

    def test_too_few_comparisons_are_said(self, base, tmp_path):
        with pytest.raises(ValueError, match="7 comparisons make no batch of 8: take more, or a smaller one"):
            train(base, tmp_path, num_pairs=7)


class TestCommand:
    @pytest.fixture
    def command(self, monkeypatch, capsys):
        def start(*words):
            monkeypatch.setattr(train_reward_model, "_NUM_TEST", 20)
            monkeypatch.setattr("sys.argv", ["train_reward_model", *map(str, words)])
            with pytest.raises(SystemExit) as ended:
                train_reward_model.main()
            printed = capsys.readouterr()
            return ended.value.code, printed.out, printed.err

        return start

    def test_from_a_folder_of_ones_own(self, command, base, tmp_path):
        save(tmp_path / "base", base)
        words = ["--base", tmp_path / "base", "--num-pairs", 20, "--steps", 3, "--warmup", 1, "--batch-size", 8]
        code, out, _ = command(*words, "--device", "cpu", "--no-progress", "--out", tmp_path / "run")
        assert (code, "whatever is longer: agrees with the rater" in out) == (0, True)
        card = load_reward_model(f"{tmp_path}/run/model").card
        assert card.recipe.startswith("python -m course_lib.recipes.train_reward_model --base ")
        assert (card.name, card.training["length_bias"]) == ("run", 0.03)

    def test_a_mistake_is_one_line_and_code_2(self, command, tmp_path):
        code, _, err = command("--base", "tales", "--out", tmp_path / "run")
        assert code == 2
        assert re.fullmatch(r"train_reward_model: there is no model 'tales' in the zoo; there are: .*\n", err)


def test_settings_decide(base, tmp_path, trained):
    other = train(base, tmp_path, settings=replace(SETTINGS, seed=1))
    assert not torch.equal(other.model.head.weight, trained[0].model.head.weight)
