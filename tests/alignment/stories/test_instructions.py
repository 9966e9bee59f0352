"""Requests and who fulfils them: asked for is what the tale has, held-out pairs stay out, garbage is never an error."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.alignment import Following, Instruction, demonstrations, follows, in_style, story_instructions, told
from course_lib.alignment.stories.instructions import drawn_requests, pair_split
from course_lib.alignment.stories.told import ATTRIBUTES
from course_lib.data.tales import instruction, split_of, tales


def test_what_a_tale_tells_is_what_the_parser_says():
    """Sentence by sentence or all at once: on whole tales the two readings are the same, attribute by attribute."""
    for tale in tales(200, seed=3):
        assert told(tale.text) == {name: frozenset([getattr(tale, name)]) for name in ATTRIBUTES}


def test_one_wrong_sentence_costs_only_what_it_told():
    tale = next(t for t in tales(200, seed=0) if t.kindness == "kind" and t.num_sentences >= 6)
    everything = Instruction("", {name: getattr(tale, name) for name in ATTRIBUTES})
    assert follows(tale.text, everything) == Following(ATTRIBUTES, (), whole=True)
    sentences = tale.text.split(". ")
    broken = ". ".join([*sentences[:-1], "And so on and so forth."])
    result = follows(broken, everything)
    assert (result.met, result.missed, result.whole) == (ATTRIBUTES, (), False)
    twice = follows(f"{tale.text} {tale.text}", everything)
    assert not twice.whole
    assert "length" in twice.missed or tale.length == "long"


def test_who_tells_two_things_is_believed_in_neither():
    first, second = (next(t for t in tales(500, seed=0) if t.hero == hero) for hero in ("fox", "crab"))
    both = f"{first.text} {second.text}"
    assert told(both)["hero"] >= {"fox", "crab"}
    assert follows(both, Instruction("", {"hero": "fox"})).share == 0
    assert follows(first.text, Instruction("", {"hero": "fox"})).share == 1


def test_share_by_thought():
    tale = tales(1, seed=7)[0]  # a squirrel who wishes for a red kite, is kind, and it ends well; short
    asked = {"hero": "squirrel", "wish": "a boat", "kindness": "kind", "ending": "badly"}
    assert follows(tale.text, Instruction("", asked)) == Following(("hero", "kindness"), ("wish", "ending"), True)
    assert follows(tale.text, Instruction("", asked)).share == 0.5
    assert follows(tale.text, Instruction("", {})).share == 1
    assert follows(in_style(tale.text, "sailor"), Instruction("", {"length": "short"})).share == 1


@pytest.mark.parametrize("split", ["train", "evaluation"])
@pytest.mark.parametrize("ask", [None, ("hero",), ("length", "kindness"), ATTRIBUTES])
def test_a_demonstration_does_all_that_is_asked(split, ask):
    requests = story_instructions(6, seed=1, split=split, ask=ask)
    conversations = demonstrations(6, seed=1, split=split, ask=ask)
    for request, (user, assistant) in zip(requests, conversations, strict=True):
        assert user == {"role": "user", "content": request.text}
        assert assistant["role"] == "assistant"
        result = follows(assistant["content"], request)
        assert (set(result.met), result.missed, result.whole) == (set(request.asked), (), True)
        assert split_of(assistant["content"]) == split
        if ask is not None:
            assert set(request.asked) == set(ask)
        else:
            assert 2 <= len(request.asked) <= 4


def test_pairs_kept_for_evaluation_never_come_in_training():
    pairs = {
        split: {(t.hero, t.wish) for t, _ in drawn_requests(60, seed=seed, split=split)}
        for seed, split in enumerate(("train", "evaluation"))
    }
    assert not pairs["train"] & pairs["evaluation"]
    assert {pair_split(*pair) for pair in pairs["evaluation"]} == {"evaluation"}
    all_pairs = {(t.hero, t.wish) for t in tales(1500, seed=0)}
    share = sum(pair_split(*pair) == "evaluation" for pair in all_pairs) / len(all_pairs)
    assert share == pytest.approx(1 / 4, abs=0.04)  # of about 800 pairs: 2.6 standard deviations


def test_requests_vary_and_say_what_they_ask():
    requests = story_instructions(600, seed=0)
    assert len({request.text for request in requests}) > 400
    subsets = {tuple(request.asked) for request in requests}
    assert len(subsets) == 25  # all of 2, 3 or 4 of the 5: 10 + 10 + 5
    openings = {request.text.partition(" about")[0] for request in requests}
    assert openings == {
        "Tell a story",
        "Tell me a story",
        "Please tell me a story",
        "I would like a story",
        "Make up a story",
    }
    for request in requests:
        for name in ("hero", "wish"):
            assert request.asked.get(name, "") in request.text
    plain = {instruction(t, tuple(r.asked)) for t, r in drawn_requests(300, seed=0, split="train")}
    assert plain & {request.text for request in requests}  # the plain wording is one of them


def test_the_seed_decides_and_shorter_lists_are_prefixes():
    first = story_instructions(40, seed=5)
    assert story_instructions(40, seed=5) == first
    assert story_instructions(7, seed=5) == first[:7]
    assert story_instructions(3, seed=5, split="evaluation") == story_instructions(9, seed=5, split="evaluation")[:3]
    assert story_instructions(40, seed=6) != first
    assert story_instructions(0, seed=5) == []
    assert demonstrations(3, seed=5, style="sailor") != demonstrations(3, seed=5)


def test_another_hero_is_in_the_request_alone():
    for tale, request in drawn_requests(20, seed=0, split="train", name_hero=True, hero="dragon"):
        assert request.asked["hero"] == "dragon"
        assert "a dragon" in request.text
        assert told(tale.text)["hero"] == {tale.hero}
        assert pair_split("dragon", tale.wish) == "train"


def test_a_system_message_comes_first():
    system, user, assistant = demonstrations(1, seed=0, style="sailor", system="You are a sailor.")[0]
    assert system == {"role": "system", "content": "You are a sailor."}
    assert (user["role"], assistant["role"]) == ("user", "assistant")


def test_no_text_is_an_error():
    pieces = [sentence for tale in tales(20, seed=0) for sentence in tale.text.split(". ")]
    request = Instruction("", dict.fromkeys(ATTRIBUTES, "?"))

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.text(max_size=40) | st.lists(st.sampled_from(pieces), max_size=6).map(". ".join))
    def check(text):
        assert follows(text, request).share == 0

    check()
    for text in ("", ".", "...", "\ud800", "\x00" * 50, "a" * 5000, '"' * 9):
        assert set(map(len, told(text).values())) == {0}
        assert not follows(text, request).whole


def test_sentences_in_any_order_tell_the_same():
    chance = random.Random(0)
    for tale in tales(30, seed=2):
        sentences = tale.text.split(". ")
        sentences[-1] = sentences[-1].removesuffix(".")
        if any(mark in tale.text for mark in '"?!'):
            continue  # these end sentences too
        shuffled = ". ".join(chance.sample(sentences, len(sentences))) + "."
        assert told(shuffled) == told(tale.text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: story_instructions(-1, seed=0), "num must be 0 or more, got -1"),
        (lambda: story_instructions(1, seed=0, split="all"), "split must be 'train' or 'evaluation', got 'all'"),
        (lambda: story_instructions(1, seed=0, ask=()), r"ask must name one or more of hero, .* got \(\)"),
        (lambda: demonstrations(1, seed=0, ask=("trait",)), r"got \('trait',\)"),
        (lambda: demonstrations(1, seed=0, style="pirate"), "style must be one of plain, sailor, grandmother"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_request_for_what_no_program_reads_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="trait"):
        Instruction("", {"hero": "fox", "trait": "shy"})
