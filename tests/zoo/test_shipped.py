"""The models that come with the course are those their cards describe, and as good as those say."""

import shlex

import pytest

from course_lib.data import Batches, pack, python_text
from course_lib.data.tales import grade, tales
from course_lib.loops import evaluate, next_token
from course_lib.tokenization import bits_per_byte
from course_lib.zoo import load, names
from course_lib.zoo.folders import SHIPPED

MOST_BYTES = {"stories": 2.5e6, "python_text": 6e6, "sums": 0.8e6}


def scores(pretrained, texts):
    """Nats a token and bits a byte on ``texts``."""
    documents = [pretrained.tokenizer.encode(text, special="text") for text in texts]
    length = pretrained.card.architecture["context_length"]
    windows = pack(documents, context_length=length, separator=pretrained.separator, mix=False)
    batches = Batches(windows, batch_size=16, seed=0, shuffle=False, epochs=1)
    loss = evaluate(pretrained.model, next_token, batches)["loss"]
    num_tokens = sum(map(len, documents)) + len(documents)
    num_bytes = sum(len(text.encode()) for text in texts)
    return loss, bits_per_byte(loss, num_tokens=num_tokens, num_bytes=num_bytes), num_tokens


@pytest.mark.parametrize("name", sorted(MOST_BYTES))
def test_each_is_small_and_its_page_is_its_card(name):
    assert name in names()
    pretrained = load(name)
    assert sum(path.stat().st_size for path in (SHIPPED / name).iterdir()) < MOST_BYTES[name]
    assert (SHIPPED / name / "README.md").read_text(encoding="utf-8") == pretrained.card.markdown()
    assert sum(weight.numel() for weight in pretrained.model.parameters()) == pretrained.card.num_parameters
    assert pretrained.card.name == name
    words = shlex.split(pretrained.card.recipe)
    assert words[:3] == ["python", "-m", "course_lib.recipes.pretrain"]
    architecture = pretrained.card.architecture
    for option, field in (("--width", "width"), ("--layers", "num_layers"), ("--vocab-size", "vocab_size")):
        assert int(words[words.index(option) + 1]) == architecture[field]


def test_the_python_model_is_as_good_as_its_card_says_and_better_than_a_trigram():
    """On a sample of this Python's text, which differs from that of the card's, so within 15 %."""
    pretrained = load("python_text")
    texts = python_text("all", split="validation", max_bytes=100_000)["text"]
    card = pretrained.card
    assert scores(pretrained, texts)[1] == pytest.approx(card.validation["bits_per_byte"], rel=0.15)
    trigram = card.baselines["interpolated Kneser-Ney trigram"]
    assert card.validation["bits_per_byte"] < trigram["bits_per_byte"]


def test_the_story_model_is_near_the_entropy_of_its_grammar():
    """Its excess over the exact log-probability of stories it cannot have seen is that of its card."""
    pretrained = load("stories")
    held_out = tales(100, seed=12345, split="evaluation")
    loss, _, num_tokens = scores(pretrained, [tale.text for tale in held_out])
    excess = loss + sum(tale.log_prob for tale in held_out) / num_tokens
    card = pretrained.card
    truth = card.baselines["the process that wrote the text"]["nats_per_token"]
    assert excess == pytest.approx(card.validation["nats_per_token"] - truth, abs=0.03)  # 100 stories, sampling error


def test_the_story_model_tells_stories_of_the_grammar():
    """A program that reads the grammar back finds most sentences right, about 0.88 of them over 120 stories."""
    texts = load("stories").complete([""] * 30, max_new_tokens=220, seed=1)
    assert sum(grade(text).share for text in texts) / len(texts) > 0.8
    assert len(set(texts)) == 30


def test_the_python_model_copies_a_name_as_python_programmers_do():
    head = '"""A stack."""\n\nimport os\n\n\nclass Stack:\n    """A stack of things."""\n\n'
    head += "    def __init__(self, name, size):\n        self.name = name\n        self.size ="
    (text,) = load("python_text").complete([head], max_new_tokens=12, temperature=0)
    assert text.startswith(" size\n        self.")
