"""A reward model with its tokenizer and card: what it says of texts, saved and loaded, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import ChatTemplate, RewardModel
from course_lib.nn.transformer import Transformer, grow_vocabulary
from course_lib.zoo import DamagedModel, PretrainedReward, load, load_folder, load_reward_model, save

EXACT = {"rtol": 0, "atol": 0}


def judging(pretrained, pooling="last", tokenizer=None):
    """A reward model of random weights that bf16 holds exactly."""
    transformer = Transformer(pretrained.model.config)
    transformer.load_state_dict(pretrained.model.state_dict())
    model = RewardModel(transformer, pooling=pooling)
    with torch.no_grad():
        drawn = torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(2))
        model.head.weight.copy_(drawn.bfloat16())
        model.head.bias.fill_(0.25)
    card = replace(
        pretrained.card,
        architecture=pretrained.card.architecture | {"pooling": pooling},
        kind="reward model",
        validation={},
        baselines={},
        samples=[],
        measured="On nothing.",
        scores={"this model": {"accuracy": 0.5}},
    )
    return PretrainedReward(model.eval(), tokenizer or pretrained.tokenizer, card)


@pytest.fixture
def reward(tiny):
    return judging(tiny)


@pytest.fixture
def chatting(tiny):
    """One that was trained on requests and answers."""
    tokenizer = tiny.tokenizer.with_special(ChatTemplate().marks)
    grown = grow_vocabulary(tiny.model, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        grown.embedding.weight.copy_(grown.embedding.weight.bfloat16())
    card = replace(tiny.card, architecture=tiny.card.architecture | {"vocab_size": 269})
    return judging(replace(tiny, model=grown, tokenizer=tokenizer, card=card))


class TestScores:
    def test_a_text_is_read_as_a_document_to_its_end(self, reward):
        found = reward.score(["hello", ""])
        for text, score in zip(["hello", ""], found, strict=True):
            ids = [reward.tokenizer.special["<|endoftext|>"], *reward.tokenizer.encode(text)]
            ids.append(ids[0])
            hidden = reward.model.transformer.hidden_states(torch.tensor([ids]))[0, -1]
            assert_close(score, (hidden @ reward.model.head.weight[0] + 0.25).detach())
        assert reward.score([]).shape == (0,)

    def test_an_answer_is_read_with_its_request(self, chatting):
        template = ChatTemplate()
        talk = [{"role": "user", "content": "low"}, {"role": "assistant", "content": "lower"}]
        ids = template.encode(chatting.tokenizer, talk).tokens
        hidden = chatting.model.transformer.hidden_states(torch.tensor([ids]))[0, -1]
        expected = (hidden @ chatting.model.head.weight[0] + 0.25).detach()
        assert_close(chatting.score(["lower"], ["low"])[0], expected)

    def test_mistakes_are_named(self, reward, chatting):
        with pytest.raises(ValueError, match=r"takes a list of texts: write score\(\[text\]\)"):
            reward.score("hello")
        with pytest.raises(ValueError, match="tiny judges texts alone: leave requests out"):
            reward.score(["hello"], ["low"])
        with pytest.raises(ValueError, match="tiny judges answers: give their requests"):
            chatting.score(["hello"])
        with pytest.raises(ValueError, match="one completion, got 1 and 2"):
            chatting.score(["hello", "low"], ["low"])
        with pytest.raises(ValueError, match="endoftext"):
            reward.score(["hello<|endoftext|>"])


class TestFolders:
    @pytest.mark.parametrize("pooling", ["last", "mean"])
    def test_what_was_saved_comes_back_bit_for_bit(self, tiny, tmp_path, pooling):
        reward = judging(tiny, pooling)
        card = save(tmp_path / "judge", reward)
        back = load_reward_model(f"{tmp_path}/judge")
        assert_close(back.score(["hello", "low low"]), reward.score(["hello", "low low"]), **EXACT)
        assert (back.card, back.tokenizer, back.model.training) == (card, reward.tokenizer, False)
        assert load_reward_model(f"{tmp_path}/judge", dtype=torch.float64).score(["low"]).dtype == torch.float64

    def test_a_model_of_another_kind_is_named(self, reward, tiny, tmp_path):
        save(tmp_path / "judge", reward)
        save(tmp_path / "writer", tiny)
        with pytest.raises(ValueError, match=r"expected a language model in .*, its card says 'reward model'"):
            load_folder(tmp_path / "judge")
        with pytest.raises(ValueError, match=r"expected a reward model in .*, its card says 'language model'"):
            load_reward_model(f"{tmp_path}/writer")
        with pytest.raises(ValueError, match=r"'stories' is a language model: load it with course_lib\.zoo\.load\."):
            load_reward_model("stories")
        with pytest.raises(ValueError, match=r"'digits_flow' is a generator"):
            load("digits_flow")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda card: card["architecture"].pop("pooling"), "is no model card: 'pooling'"),
            (lambda card: card["architecture"].update(pooling="first"), "is no model card: pooling must be"),
            (lambda card: card["architecture"].update(width=32), "do not fit its card"),
            (lambda card: card.pop("limits"), "wrong: limits"),
        ],
    )
    def test_a_card_that_does_not_fit_is_named(self, reward, tmp_path, change, message):
        save(tmp_path, reward)
        content = json.loads((tmp_path / "card.json").read_text())
        change(content)
        (tmp_path / "card.json").write_text(json.dumps(content))
        with pytest.raises(DamagedModel, match=message):
            load_reward_model(f"{tmp_path}/")

    def test_a_card_of_another_pooling_is_refused(self, reward):
        other = replace(reward.card, architecture=reward.card.architecture | {"pooling": "mean"})
        with pytest.raises(ValueError, match="the card speaks of pooling 'mean', the model has 'last'"):
            PretrainedReward(reward.model, reward.tokenizer, other)


def test_the_page_has_scores_and_no_figures_of_a_writer(reward):
    page = reward.card.markdown()
    assert "- **Kind:** reward model\n" in page
    assert "\n## How good it is\n\nOn nothing.\n\n| model | accuracy |\n| --- | --- |\n| this model | 0.5 |\n" in page
    assert "nats a token" not in page
    assert "Samples" not in page


def test_a_page_may_have_figures_and_scores(card):
    page = replace(card, measured="By asking.", scores={"this model": {"right": 0.25}}).markdown()
    assert (
        "nats a token cannot.\n\nBy asking.\n\n| model | right |\n| --- | --- |\n| this model | 0.25 |\n\n## Limits"
        in page
    )


def test_a_card_of_before_there_were_scores_can_be_read(card):
    from course_lib.zoo import Card

    content = card.to_json()
    for name in ("kind", "measured", "scores"):
        del content[name]
    assert Card.from_json(content) == card
