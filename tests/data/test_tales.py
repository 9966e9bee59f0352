"""tales: drawn from a seed, in splits that never meet, with attributes that stand in the text, in English."""

import hashlib
import math
import re
from collections import Counter

import pytest

from course_lib.data.tales import Tale, as_dataset, entropy, instruction, split_of, tales

MANY = tales(3000, seed=0, split="all")


def test_the_tales_are_those_that_the_shipped_models_have_learnt():
    """Whoever changes the grammar must train the models anew; the first tales of a seed never change otherwise."""
    digest = hashlib.blake2b("\n".join(tale.text for tale in MANY).encode(), digest_size=8).hexdigest()
    assert digest == "e04d46f5fbd3c485"


def test_the_seed_decides_and_a_longer_list_starts_with_the_shorter_one():
    assert tales(30, seed=5)[:10] == tales(10, seed=5)
    assert tales(10, seed=5) != tales(10, seed=6)
    assert tales(0, seed=5) == []


def test_the_global_generators_are_left_alone(global_random_states):
    before = global_random_states()
    tales(10, seed=0)
    assert global_random_states() == before


@pytest.mark.parametrize("seed", [0, 1])
def test_no_training_tale_is_an_evaluation_tale_whatever_the_seeds(seed):
    train = {tale.text for tale in tales(500, seed=seed)}
    evaluation = {tale.text for tale in tales(100, seed=1 - seed, split="evaluation")}
    assert not train & evaluation
    assert {split_of(text) for text in train} == {"train"}
    assert {split_of(text) for text in evaluation} == {"evaluation"}


def test_the_splits_part_one_stream_one_in_eight():
    evaluation = [tale for tale in MANY if split_of(tale.text) == "evaluation"]
    assert evaluation == tales(len(evaluation), seed=0, split="evaluation")
    error = math.sqrt(1 / 8 * 7 / 8 / len(MANY))
    assert abs(len(evaluation) / len(MANY) - 1 / 8) < 4 * error
    # the hash knows nothing of the probabilities: both parts are as surprising as the whole
    surprise = [-tale.log_prob for tale in evaluation]
    mean = sum(surprise) / len(surprise)
    assert abs(mean - entropy()) < 4 * math.sqrt(sum((s - mean) ** 2 for s in surprise)) / len(surprise)


def test_tales_are_short_plain_and_of_many_words():
    words = [len(tale.text.split()) for tale in MANY]
    assert min(tale.num_sentences for tale in MANY) == 4
    assert max(tale.num_sentences for tale in MANY) <= 12
    assert min(words) >= 40
    assert max(words) <= 160
    assert sorted(words)[len(words) // 2] < 90
    assert sum(count > 120 for count in words) < 0.05 * len(words)
    assert all(tale.text.isascii() and "\n" not in tale.text and "  " not in tale.text for tale in MANY)
    assert len({word for tale in MANY for word in re.findall(r"[a-z]+", tale.text.lower())}) > 1200


def test_she_and_he_are_never_mixed():
    for tale in MANY:
        text = tale.text.lower().replace("he who counts the clouds", "")
        she = re.search(r"\b(she|her|herself)\b", text)
        he = re.search(r"\b(he|him|his|himself)\b", text)
        assert not (she and he), tale.text


def test_a_and_an_go_with_the_sound_that_follows():
    for tale in MANY:
        for article, letter in re.findall(r"\b(an?) (?!hour)([a-z])", tale.text.lower()):
            assert (article == "an") == (letter in "aeiou"), tale.text


def test_one_and_many_agree():
    for tale in MANY:
        many = bool(re.match("two|three|seven", tale.needy))
        assert not re.search(rf"(?<!and )the {tale.needy} {'was' if many else 'were'}\b", tale.text), tale.text
        wrong = "me" if many else "us"
        assert not re.search(rf'\b([Hh]elp|leave|spare|hears|for|on) {wrong}[ ,?!."]', tale.text), tale.text
        if tale.wish in ("new boots", "warm mittens", "wings"):
            assert not re.search(rf"\b(an?|(?<!world )was) {tale.wish}\b", tale.text), tale.text
            assert not re.search(r"\b(but|and) it (?!was|said|did|had|turned)", tale.text), tale.text


def test_what_a_tale_is_said_to_be_stands_in_its_text():
    for tale in MANY:
        assert all(part in tale.text for part in (tale.hero, tale.name, tale.trait, tale.needy))
        assert tale.place in tale.text or tale.place[0].upper() + tale.place[1:] in tale.text
        assert tale.wish.removeprefix("to ") in tale.text
        assert tale.friend is None or all(part in tale.text for part in tale.friend.split(" the "))
        assert tale.length == ("short" if tale.num_sentences <= 6 else "medium" if tale.num_sentences <= 8 else "long")


GRAND = {
    "a magic pot", "a golden crown", "a star", "wings", "a chest of gold", "a flying carpet", "a palace",
    "to touch the moon", "to talk with the wind", "to fly like a swallow", "to stop the winter", "to become invisible",
    "to turn back time",
}  # fmt: skip


def test_the_ending_hangs_on_kindness_and_on_the_wish():
    endings = Counter((tale.kindness, tale.ending) for tale in MANY)
    assert endings["unkind", "badly"] == sum(tale.kindness == "unkind" for tale in MANY)
    assert endings["kind", "badly"] == 0
    for grand, share in ((True, 0.3), (False, 0.85)):
        well = [tale.ending == "well" for tale in MANY if tale.kindness == "kind" and (tale.wish in GRAND) == grand]
        error = math.sqrt(share * (1 - share) / len(well))
        assert abs(sum(well) / len(well) - share) < 4 * error < 0.25


def test_a_tale_becomes_a_row():
    rows = as_dataset(MANY[:20])
    assert rows["text"][:] == [tale.text for tale in MANY[:20]]
    assert set(rows.column_names) == {*Tale.__dataclass_fields__, "length"}
    assert rows[3]["length"] == MANY[3].length
    assert rows[3]["log_prob"] == MANY[3].log_prob


ANNA = Tale(
    text="...",
    log_prob=-1.0,
    hero="owl",
    name="Anna",
    trait="shy",
    place="in the forest",
    wish="to touch the moon",
    friend=None,
    needy="raven",
    kindness="sorry",
    ending="gently",
    num_sentences=7,
)


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (("hero", "wish", "ending"), "Tell a story about an owl who wishes to touch the moon. It ends gently."),
        (("trait", "hero", "name", "place"), "Tell a story about a shy owl named Anna in the forest."),
        (
            ("kindness", "length"),
            "Tell a story about somebody. The hero is unkind at first and then sorry. Make it neither short nor long.",
        ),
        (("friend",), "Tell a story about somebody. There is no friend in it."),
    ],
)
def test_an_instruction_says_what_it_is_asked_to_say(ask, text):
    assert instruction(ANNA, ask) == text


def test_an_instruction_does_not_give_the_tale_away():
    asked = {instruction(tale, ("hero", "wish")) for tale in MANY[:500]}
    assert 100 < len(asked) < 500


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tales(-1, seed=0), "num must be 0 or more, got -1"),
        (lambda: tales(1, seed=0, split="test"), "must be 'train', 'evaluation' or 'all', got 'test'"),
        (lambda: instruction(ANNA, ("colour",)), r"ask must name one or more of hero, .*; got \('colour',\)"),
        (lambda: instruction(ANNA, ()), "ask must name one or more"),
        (lambda: as_dataset([]), "at least one tale"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
