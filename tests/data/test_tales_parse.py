"""parse, grade and log_prob: tales read back exactly, and everything else refused with its reason."""

import math
import random

import pytest

from course_lib.data.tales import NotATale, grade, log_prob, parse, tales
from course_lib.data.tales.reading import sentences_of

STORY = (
    "Once there was a dreamy squirrel in the forest named Mara, who wished for a red kite. "
    "Under the old oak she met a fawn stuck in a deep hole. "
    "As gently as she could, the squirrel lowered a branch. "
    "Seven nights later the fawn came back with a red kite as light as a petal. "
    "A kind deed is never lost."
)
UNKIND = "But Mara was in a hurry and did not stop to lower a branch."
SORRY = "But Mara could not sleep, and at dawn she ran back and lowered a branch."
FAILURE = "In the end Mara bought a red kite from a stranger, but it blew away over the hills."


def test_tales_are_read_back_exactly():
    for tale in tales(300, seed=3, split="all"):
        assert parse(tale.text) == tale
        assert log_prob(tale.text) == tale.log_prob
        graded = grade(tale.text)
        assert (graded.num_right, graded.num_sentences, graded.share) == (tale.num_sentences, tale.num_sentences, 1)
        assert graded.problems == ()


def zipf(rank, length, *, power=1.0):
    """Probability of the item of that rank in a list of that length."""
    return rank**-power / sum(r**-power for r in range(1, length + 1))


def test_a_probability_worked_out_by_hand():
    plan = zipf(2, 32)  # tale meeting deed outcome closing
    scene = zipf(1, 16) * zipf(4, 9) * zipf(1, 80) * zipf(5, 35)  # the forest, a squirrel, Mara, dreamy
    wish = zipf(3, 44) * 0.55 * 0.85  # a red kite, kind, ends well
    need = zipf(1, 5) * zipf(2, 7) * zipf(1, 6)  # the old oak, a fawn, a deep hole
    opening = zipf(1, 10, power=1.5)
    meeting = zipf(1, 20, power=1.5)
    deed = zipf(6, 22, power=1.5) * zipf(1, 2)  # lowered a branch
    outcome = zipf(1, 16, power=1.5) * zipf(4, 10) * zipf(3, 3)  # seven nights, as light as a petal
    closing = zipf(2, 16, power=1.5)
    by_hand = math.log(plan * scene * wish * need * opening * meeting * deed * outcome * closing)
    assert log_prob(STORY) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "sentence", "message"),
    [
        ("she met", "he met", 2, "'he' does not agree with name 'Mara': expected 'she'"),
        ("the squirrel", "the fox", 3, "hero is 'fox' here, but 'squirrel' in sentence 1"),
        ("the fawn", "the raven", 4, "needy is 'raven' here, but 'fawn' in sentence 2"),
        ("a red kite as", "a boat as", 4, "wish is 'a boat' here, but 'a red kite' in sentence 1"),
        ("light as a petal", "thin as glass", 4, "made 'as thin as glass' does not go with wish 'a red kite'"),
        ("squirrel", "camel", 1, "hero 'camel' does not go with at 'in the forest'"),
        ("Under the old oak", "On the quay", 2, "spot 'on the quay' does not go with at 'in the forest'"),
        ("a fawn stuck in a deep hole", "a fawn too cold to sing", 2, "trouble .* does not go with needy 'fawn'"),
        ("lowered a branch", "lit a small fire", 3, "help 'light a small fire' does not go with trouble"),
        ("A kind deed is never lost", "A cold heart makes a cold supper", 5, "ending is 'badly' here, but 'well'"),
        ("a dreamy", "an dreamy", 1, "no tale has a sentence like 'Once there was an dreamy"),
        ("deep hole.", "deep hole", 2, "no tale has a sentence like"),
        ("Under the", "under the", 1, "no tale has a sentence like"),
        (" A kind deed", "  A kind deed", 4, "no tale has a sentence like 'Seven"),
        ("lost.", "lost.\n", 5, "no tale has a sentence like"),
        ("A kind", "A kind deed is never lost. A kind", 6, "kind 'closing' cannot come after 'closing'"),
        ("As gently", f"{SORRY} As gently", 4, "kind 'deed' cannot come after 'sorry'"),
        ("Seven nights", f"{SORRY} Seven nights", 4, "kindness is 'sorry' here, but 'kind' in sentence 3"),
        ("Under", "Then she would race the swallows, and her life would be complete. Under", 2, "said of a deed"),
    ],
)
def test_one_flaw_is_found_where_it_is(old, new, sentence, message):
    text = STORY.replace(old, new)
    with pytest.raises(NotATale, match=message) as refused:
        parse(text)
    assert refused.value.sentence == sentence
    assert str(refused.value) == f"sentence {sentence}: {refused.value.problem}"
    assert grade(text).tale is None
    assert log_prob(text) == -math.inf


def test_a_single_flaw_costs_a_single_sentence():
    graded = grade(STORY.replace("she met", "he met"))
    assert (graded.num_right, graded.num_sentences, graded.share) == (4, 5, 0.8)
    assert grade(f"{STORY} The end.").share == 5 / 6
    assert grade("").share == 0


def test_a_kind_hero_does_not_end_badly_but_an_unkind_one_does():
    sentences = sentences_of(STORY)
    bad = [*sentences[:3], FAILURE]
    with pytest.raises(NotATale, match="ending 'badly' does not go with wish 'a red kite' and kindness 'kind'"):
        parse(" ".join(bad))
    bad[2] = UNKIND
    tale = parse(" ".join(bad))
    assert (tale.kindness, tale.ending, tale.num_sentences) == ("unkind", "badly", 4)


def test_what_is_said_of_a_thing_is_refused_where_the_wish_is_a_deed():
    opening = "Once there was a dreamy squirrel in the forest named Mara, who wished to learn to swim."
    text = " ".join([opening, *sentences_of(STORY)[1:2], UNKIND, FAILURE])
    with pytest.raises(NotATale, match="sentence 4: wish is 'a red kite' here, but 'learn to swim' in sentence 1"):
        parse(text)
    assert grade(text).share == 3 / 4


def test_a_hero_who_is_sorry_is_read_as_such():
    sentences = sentences_of(STORY)
    tale = parse(" ".join([*sentences[:2], UNKIND, SORRY, *sentences[3:]]))
    assert (tale.kindness, tale.ending, tale.num_sentences) == ("sorry", "well", 6)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_tale_that_stops_early_is_no_tale_though_every_sentence_is_right(kept):
    text = " ".join(sentences_of(STORY)[:kept])
    with pytest.raises(NotATale, match="no tale goes in this order: tale") as refused:
        parse(text)
    assert refused.value.sentence is None
    assert grade(text).share == 1
    assert log_prob(text) == -math.inf


def test_no_mixture_of_tales_breaks_the_reader_or_passes_as_a_tale_that_it_is_not():
    pool = [sentences_of(tale.text) for tale in tales(60, seed=9, split="all")]
    rng = random.Random(0)
    whole = 0
    for _ in range(300):
        parts = list(rng.choice(pool))
        for _ in range(rng.randrange(3)):
            parts[rng.randrange(len(parts))] = rng.choice(rng.choice(pool))
        graded = grade(" ".join(parts))
        assert graded.num_sentences == len(parts)
        assert graded.num_right <= len(parts)
        assert graded.tale is None or graded.tale.text == " ".join(parts)
        assert (graded.tale is None) == bool(graded.problems)
        whole += graded.tale is not None
    assert 90 < whole < 200  # a third is untouched; a closing sentence, say, fits into many tales
