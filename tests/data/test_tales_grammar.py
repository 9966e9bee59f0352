"""The grammar of tales: large enough, never ambiguous, its count and entropy exact."""

import math
from dataclasses import replace

import pytest

from course_lib.data.tales import entropy, num_stories, tales
from course_lib.data.tales.derivation import Derivation, local_list, needed, render, story_list
from course_lib.data.tales.entropy import entropy_of, num_stories_of
from course_lib.data.tales.grammar import NAMING, PARENTS, beats, sentence_key, slot_form, whole_grammar
from course_lib.data.tales.parse import grade_with
from course_lib.data.tales.reading import reader_of
from course_lib.data.tales.tables import weighted, zipf

GRAMMAR = whole_grammar()


def first(options, num):
    """The first ``num`` items, with their probabilities made to sum to 1 again."""
    total = sum(options.probabilities[:num])
    return weighted(dict(zip(options.items[:num], (p / total for p in options.probabilities[:num]), strict=True)))


def cut(*, plans, sizes=None, num_frames=1, num_local=1):
    """The grammar with short lists: one item each, unless ``sizes`` says otherwise; kindness and endings are whole."""
    sizes = {"kindness": 3, "ending": 3, **(sizes or {})}
    return replace(
        GRAMMAR,
        story={c: {k: first(v, sizes.get(c, 1)) for k, v in by.items()} for c, by in GRAMMAR.story.items()},
        local={c: {k: first(v, num_local) for k, v in by.items()} for c, by in GRAMMAR.local.items()},
        frames={key: first(options, num_frames) for key, options in GRAMMAR.frames.items()},
        plans=zipf(tuple(plan.split()) for plan in plans),
    )


def every_tale(grammar):
    """Yield text and probability of every derivation, one choice after the other."""

    def choose(options):
        return zip(options.items, options.probabilities, strict=True)

    def tell(plan, story, todo, done, probability):
        if not todo:
            yield " ".join(render(grammar, Derivation(plan, story, done))), probability
            return
        core = {name: story[name] for name in ("wish", "kindness", "ending")}
        for shape, p_frame in choose(grammar.frames[sentence_key(todo[0], **core)]):
            filled = [({}, p_frame)]
            for choice in shape.local:
                filled = [
                    ({**local, choice: value}, p * q)
                    for local, p in filled
                    for value, q in choose(local_list(grammar, choice, story))
                ]
            for local, p in filled:
                yield from tell(plan, story, todo[1:], [*done, (shape, local)], probability * p)

    def plot(plan, story, todo, probability):
        if not todo:
            yield from tell(plan, story, beats(plan, story["kindness"]), [], probability)
        elif not needed(todo[0], plan):
            yield from plot(plan, story, todo[1:], probability)
        else:
            for value, p in choose(story_list(grammar, todo[0], story)):
                yield from plot(plan, {**story, todo[0]: value}, todo[1:], probability * p)

    for plan, p_plan in choose(grammar.plans):
        yield from plot(plan, {}, list(PARENTS), p_plan)


CUTS = {
    "people": {
        "plans": ["tale meeting deed outcome"],
        "sizes": {"at": 2, "hero": 2, "name": 4, "trait": 2, "wish": 3, "needy": 2, "spot": 2},
    },
    "sentences": {
        "plans": ["opening friend wish meeting deed outcome company"],
        "sizes": {"wish": 2},
        "num_frames": 2,
    },
    "words": {
        "plans": ["tale meeting deed outcome closing", "tale reason journey meeting deed outcome dream"],
        "sizes": {"wish": 4, "use": 2, "trouble": 2, "spot": 2},
        "num_local": 2,
    },
}


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_told_to_the_end_has_the_entropy_and_the_number_computed(name):
    grammar = cut(**CUTS[name])
    told = list(every_tale(grammar))
    texts = {text for text, _ in told}
    assert len(told) == num_stories_of(grammar) > 400
    assert len(texts) == len(told)  # text and derivation are one to one
    assert math.fsum(p for _, p in told) == pytest.approx(1, abs=1e-12)
    assert entropy_of(grammar) == pytest.approx(-math.fsum(p * math.log(p) for _, p in told), rel=1e-12)
    reader = reader_of(grammar)
    for text, p in told[:: len(told) // 100]:
        assert grade_with(grammar, reader, text).tale.log_prob == pytest.approx(math.log(p), rel=1e-12)


def test_a_grammar_without_choices_has_one_tale_and_no_entropy():
    grammar = cut(plans=["tale meeting deed outcome"], sizes={"kindness": 1, "ending": 1})
    assert num_stories_of(grammar) == 1
    assert entropy_of(grammar) == 0


def test_four_equally_likely_names_are_worth_log_four():
    grammar = cut(plans=["tale meeting deed outcome"], sizes={"kindness": 1, "ending": 1, "name": 4})
    grammar = replace(
        grammar, story={**grammar.story, "name": {(): weighted(dict.fromkeys(grammar.story["name"][()].items, 0.25))}}
    )
    assert entropy_of(grammar) == pytest.approx(math.log(4), rel=1e-15)
    assert num_stories_of(grammar) == 4


def test_the_mean_surprise_of_many_tales_is_the_entropy():
    surprise = [-tale.log_prob for tale in tales(4000, seed=2, split="all")]
    mean = sum(surprise) / len(surprise)
    error = math.sqrt(sum((s - mean) ** 2 for s in surprise)) / len(surprise)
    assert abs(mean - entropy()) < 4 * error < 0.6


def test_no_tale_is_likelier_than_one_in_ten_million():
    """Each choice at its likeliest, whatever the others: no tale can have more. So a split by hash is an even one."""

    def likeliest(by_parent):
        return max(max(options.probabilities) for options in by_parent.values())

    best = {}
    for key, options in GRAMMAR.frames.items():
        for shape, p in zip(options.items, options.probabilities, strict=True):
            p_sentence = p * math.prod(likeliest(GRAMMAR.local[choice]) for choice in shape.local)
            beat = key.partition(".")[0]
            best[beat] = max(best.get(beat, 0), p_sentence)
    for plan, p in zip(GRAMMAR.plans.items, GRAMMAR.plans.probabilities, strict=True):
        p_story = math.prod(likeliest(GRAMMAR.story[choice]) for choice in PARENTS if needed(choice, plan))
        assert p * p_story * math.prod(best[beat] for beat in plan) < 1e-7


def test_there_are_more_tales_than_anyone_can_read():
    assert isinstance(num_stories(), int)
    assert num_stories() > 10**8
    assert math.log(num_stories()) > entropy()  # equal only if all were equally likely


def test_there_are_more_than_300_frames_and_no_two_alike():
    frames = [(shape.literals, shape.slots) for options in GRAMMAR.frames.values() for shape in options.items]
    assert len(frames) >= 450
    assert len(set(frames)) == len(frames)


def test_all_probabilities_sum_to_one():
    lists = [GRAMMAR.plans, *GRAMMAR.frames.values()]
    for by_parent in (*GRAMMAR.story.values(), *GRAMMAR.local.values()):
        lists += by_parent.values()
    assert len(lists) > 700
    for options in lists:
        assert math.fsum(options.probabilities) == pytest.approx(1, abs=1e-12)


def test_every_choice_shows_in_the_text():
    """What a plan draws, some sentence that it always has names whatever its frame; so no choice is hidden."""
    for plan in GRAMMAR.plans.items:
        for choice in NAMING:
            if needed(choice, plan):
                assert any(
                    all(
                        any(slot_form(slot) in NAMING[choice] for slot in shape.slots)
                        for key, options in GRAMMAR.frames.items()
                        if key.partition(".")[0] == beat
                        for shape in options.items
                    )
                    for beat in plan
                ), (choice, plan)
