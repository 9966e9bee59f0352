"""The gold reward: its parts read off real tales, its range, and texts of every kind of nonsense."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import TasteWeights, follows, story_instructions, story_taste
from course_lib.data.tales import grade, tales

TALES = tales(60, seed=3)


def test_a_whole_tale_is_worth_its_attributes():
    likes = {"kind": 1.0, "sorry": 0.5, "unkind": 0.0, "well": 0.5, "gently": 0.25, "badly": 0.0}
    expected = [0.5 + likes[tale.kindness] + likes[tale.ending] for tale in TALES]
    assert len({(tale.kindness, tale.ending) for tale in TALES}) >= 5
    assert_close(story_taste([tale.text for tale in TALES]), torch.tensor(expected, dtype=torch.float64))


def test_the_best_and_the_worst_tale():
    worth = story_taste([tale.text for tale in TALES])
    assert worth.max() == TasteWeights().best == 2.0
    assert worth.min() == 0.5
    assert TasteWeights(whole=0, kind=-3, unkind=2, gently=1).best == 3.0


def test_each_weight_is_told_apart():
    names = ("kind", "sorry", "unkind", "well", "gently", "badly")
    plain = dict.fromkeys(names, 0.0)
    for name in names:
        worth = story_taste([t.text for t in TALES], weights=TasteWeights(whole=0, **plain | {name: 7.0}))
        assert [bool(each) for each in worth] == [name in (tale.kindness, tale.ending) for tale in TALES]


@pytest.mark.parametrize(
    "text", ["", " ", ".", "\n\n", "the " * 500, '"' * 99, "Ünïcode 🦊. ", "<|endoftext|>", "A. B. C."]
)
def test_nonsense_scores_lowest(text):
    assert story_taste([text]).tolist() == [-1.0]


def test_a_wrong_sentence_costs_the_whole_and_its_share():
    good = next(tale for tale in TALES if (tale.kindness, tale.ending) == ("kind", "well"))
    spoilt = good.text + " And and the."
    share = grade(spoilt).share
    assert share == good.num_sentences / (good.num_sentences + 1)
    assert_close(story_taste([spoilt]), torch.tensor([share - 1 + 1.0 + 0.5], dtype=torch.float64))


def test_a_tale_without_its_last_sentence_is_not_whole():
    tale = next(tale for tale in TALES if tale.kindness == "kind" and tale.num_sentences <= 6)
    cut = tale.text[: len(tale.text) // 2]
    assert story_taste([cut])[0] < story_taste([tale.text])[0] - 0.5


def test_of_two_that_contradict_the_less_liked_counts():
    kind = next(tale.text for tale in TALES if (tale.kindness, tale.ending) == ("kind", "well"))
    badly = next(tale.text for tale in TALES if (tale.kindness, tale.ending) == ("unkind", "badly"))
    both = f"{kind} {badly}"
    assert_close(story_taste([both]), torch.tensor([grade(both).share - 1], dtype=torch.float64))


def test_following_an_instruction_counts_by_its_share():
    instructions = story_instructions(len(TALES), seed=5)
    texts = [tale.text for tale in TALES]
    shares = [follows(text, asked).share for text, asked in zip(texts, instructions, strict=True)]
    assert len(set(shares)) >= 3
    gain = story_taste(texts, instructions, weights=TasteWeights(following=2.0)) - story_taste(texts)
    assert_close(gain, 2 * torch.tensor(shares, dtype=torch.float64))


def test_length_has_no_part_in_it():
    whole = story_taste([tale.text for tale in TALES], weights=TasteWeights(kind=0, sorry=0, well=0, gently=0))
    assert whole.unique().tolist() == [0.5]
    assert len({tale.num_sentences for tale in TALES}) >= 5


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"story_taste\(\[text\]\)"):
        story_taste("Once upon a time.")
    with pytest.raises(ValueError, match="3 texts, 2 instructions"):
        story_taste(["", "", ""], story_instructions(2, seed=0))
    with pytest.raises(ValueError, match="sorry=nan"):
        TasteWeights(sorry=math.nan)
    assert story_taste([]).shape == (0,)
