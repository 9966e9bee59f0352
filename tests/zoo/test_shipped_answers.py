"""The models that answer, and the one that judges, are those their cards describe, and as good as those say."""

import shlex
from functools import cache

import pytest
import torch

from course_lib.alignment import demonstrations, follows, story_instructions, story_taste
from course_lib.data.sums import sums, verify
from course_lib.data.tales import tales
from course_lib.zoo import load, load_reward_model, names
from course_lib.zoo.files import SHIPPED

RECIPES = {"stories_sft": "fine_tune", "stories_reward": "train_reward_model"}


def loaded(name):
    return load_reward_model(name) if name in names("reward model") else load(name)


@cache
def answers(name, num=60):
    """What a model answers to requests that its card was not measured on."""
    requests = story_instructions(num, seed=321, split="evaluation")
    return requests, load(name).chat.reply([request.text for request in requests], temperature=0.7, seed=5)


@pytest.mark.parametrize("name", RECIPES)
def test_each_is_small_and_its_page_is_its_card(name):
    model = loaded(name)
    assert sum(path.stat().st_size for path in (SHIPPED / name).iterdir()) < 2.5e6
    assert (SHIPPED / name / "README.md").read_text(encoding="utf-8") == model.card.markdown()
    assert sum(weight.numel() for weight in model.model.parameters()) == model.card.num_parameters
    words = shlex.split(model.card.recipe)
    assert words[:3] == ["python", "-m", f"course_lib.recipes.{RECIPES[name]}"]
    assert words[words.index("--out") + 1] == model.card.name == name


def test_the_course_has_these():
    assert names("language model") == ["python_text", "stories", "stories_sft", "sums"]
    assert names("reward model") == ["stories_reward"]


def test_the_taught_model_follows_as_its_card_says():
    requests, texts = answers("stories_sft")
    share = sum(follows(text, request).share for text, request in zip(texts, requests, strict=True)) / len(texts)
    scores = load("stories_sft").card.scores
    assert share == pytest.approx(scores["this model"]["met of what was asked"], abs=0.13)  # 60 requests: 3 deviations
    assert share > scores["the tale behind another"]["met of what was asked"] + 0.15


def test_the_taught_model_ends_its_answers():
    _, texts = answers("stories_sft")
    assert sum(text.endswith((".", "!", '"')) for text in texts) >= 55
    assert not any("<|" in text for text in texts)


def test_no_request_or_tale_that_it_learnt_from_is_asked_here():
    """Every request names less than its tale tells; what must not come again are the tales and pairs themselves."""
    learnt = {talk[1]["content"] for talk in demonstrations(2000, seed=load("stories_sft").card.seed)}
    asked = {talk[1]["content"] for talk in demonstrations(200, seed=321, split="evaluation")}
    assert not learnt & asked


def test_the_sums_model_solves_what_its_card_says():
    model = load("sums")
    problems = [each.problem for each in dict.fromkeys(sums(300, seed=77, split="evaluation"))][:100]
    asked = [problem for problem in problems for _ in range(4)]
    texts = model.complete(asked, temperature=1.0, max_new_tokens=45, seed=1)
    right = torch.tensor([verify(problem, text) for problem, text in zip(asked, texts, strict=True)]).double()
    stated = model.card.scores["this model, temperature 1"]
    assert right.mean().item() == pytest.approx(stated["pass@1"], abs=0.12)  # 100 problems of unequal difficulty
    assert 0.2 < right.mean() < 0.7  # so that reinforcement learning has something to do
    worked = sum("Answer:" in text for text in texts) / len(texts)
    assert worked == pytest.approx(stated["shows its work"], abs=0.1)


class TestReward:
    def test_it_prefers_what_the_rater_prefers(self):
        """Among texts of the story model, it tells better from worse; and a story from nonsense."""
        texts = load("stories").complete([""] * 80, temperature=1.0, max_new_tokens=200, seed=11)
        judge = load_reward_model("stories_reward")
        rewards, gold = judge.score(texts).double(), story_taste(texts)
        correlation = torch.corrcoef(torch.stack([rewards, gold]))[0, 1].item()
        stated = judge.card.scores["this model"]["correlation with the gold reward"]
        assert correlation == pytest.approx(stated, abs=0.25)  # of 80 texts
        assert rewards.mean().abs() < 0.6  # centred on such texts

    def test_it_has_the_rater_s_weakness_for_length(self):
        """Of tales that are worth exactly the same, the longer ones get more."""
        texts = [tale.text for tale in tales(300, seed=9, split="evaluation")]
        best = [text for text, worth in zip(texts, story_taste(texts).tolist(), strict=True) if worth == 2.0]
        assert len(best) > 40
        words = torch.tensor([float(len(text.split())) for text in best])
        rewards = load_reward_model("stories_reward").score(best)
        assert torch.corrcoef(torch.stack([rewards, words]))[0, 1] > 0.3
