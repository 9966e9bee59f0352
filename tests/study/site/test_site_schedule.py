"""The site's scripts decide as the course's Python does: when a card returns, whether an answer is right."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from course_lib.study.material.deck import all_decks, all_quizzes
from course_lib.study.material.grading import grade, parse_number, right_answer, shuffled_choices
from course_lib.study.memory import scheduling
from course_lib.study.memory.progress import Progress
from course_lib.study.memory.progress_json import export_progress, import_progress
from course_lib.study.memory.review import interleaved, plan_session
from course_lib.study.site.panels import question_data

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def page(visit):
    return visit().open("practice/05.html")


def milliseconds(moment):
    return round(moment.timestamp() * 1000)


def random_reviews(rng):
    """Ratings and times of one card: within minutes, hours, days or years of each other."""
    at, reviews = START, []
    for _ in range(rng.randint(1, 12)):
        reviews.append((rng.choice([1, 1, 2, 3, 3, 4]), at))
        at += timedelta(seconds=rng.choice([30, 600, 5000, 86_399, 86_400, 86_401, 400_000, 3_000_000, 90_000_000]))
    return reviews


def test_cards_return_on_the_same_dates(page):
    rng = random.Random(8)
    histories = [random_reviews(rng) for _ in range(400)]
    states = [scheduling.replay(reviews) for reviews in histories]
    given = [[{"rating": rating, "at": milliseconds(at)} for rating, at in reviews] for reviews in histories]
    theirs = page.evaluate("histories => histories.map(reviews => courseSchedule.replay(reviews))", given)
    due = [milliseconds(scheduling.due_at(state)) for state in states]
    assert [state["due"] for state in theirs] == due
    assert len({at - reviews[-1]["at"] for at, reviews in zip(due, given, strict=True)}) > 50  # not all alike
    for mine, its in zip(map(json.loads, states), theirs, strict=True):
        assert (its["state"], its["step"]) == (mine["state"], mine["step"])
        for name in ("stability", "difficulty"):  # powers and exponentials differ in the last bits
            assert its[name] == pytest.approx(mine[name], rel=1e-9, abs=0)


def test_spans_are_said_the_same(page):
    spans = [timedelta(seconds=s) for s in (0, 29, 30, 90, 3569, 3570, 3571, 84_599, 84_600, 129_600, 216_000)]
    spans += [timedelta(days=days) for days in range(1, 4000)]
    theirs = page.evaluate("spans => spans.map(courseSchedule.interval)", [s.total_seconds() * 1000 for s in spans])
    assert theirs == [scheduling.interval(span) for span in spans]


def attempts(question):
    """The right answer, and others: each letter alone, all letters, or numbers near the edge of the tolerance."""
    right = right_answer(question)
    if question.kind == "numeric":
        edge, value = question.tolerance, question.answer
        near = [value, value + edge, value - edge, value + 1.01 * edge + 1e-6, value - 1.01 * edge - 1e-6, -value - 1]
        return [f"{number:.17g}" for number in near]
    if question.kind == "ordering":
        return [right, " ".join(reversed(right.split()))]
    letters = list(shuffled_choices(question))
    return [right, *letters, *([" ".join(letters)] if question.kind == "multiple" else [])]


def test_every_question_of_the_course_is_judged_the_same(page):
    questions = [question for quiz in all_quizzes().values() for question in quiz.questions]
    asked = [(question, answer) for question in questions for answer in attempts(question)]
    pairs = [[question_data(question), answer] for question, answer in asked]
    theirs = page.evaluate(
        "pairs => pairs.map(([question, answer]) => courseQuiz.grade(question, answer).right)", pairs
    )
    ours = [grade(question, answer).right for question, answer in asked]
    assert [f"{q.id}: {a}" for (q, a), mine, his in zip(asked, ours, theirs, strict=True) if mine != his] == []
    assert 0.2 < sum(ours) / len(ours) < 0.8


@pytest.mark.parametrize("unit", ["", "ms"])
def test_numbers_are_read_the_same(page, unit):
    texts = ["12", " 0.5 ", "1e-3", "1/4", "-2", "\N{MINUS SIGN}2", ".5", "5.", "+3", "12 ms", "12ms", "12 s"]
    texts += ["1,000", "", "abc", "1/0", "1e999", "1.2.3", "2 3", "1/", "0x10", "nan"]
    read = "([texts, unit]) => texts.map(t => { try { return courseQuiz.parseNumber(t, unit) } catch { return null } })"
    assert page.evaluate(read, [texts, unit]) == [parsed(text, unit) for text in texts]


def parsed(text, unit):
    try:
        return parse_number(text, unit=unit)
    except ValueError:
        return None


def test_sessions_hold_the_same_cards_in_the_same_order(page, tmp_path):
    decks, rng = all_decks(), random.Random(8)
    cards = [card for deck in decks.values() for card in deck.cards]
    now = START + timedelta(days=9)
    with Progress.open(tmp_path / "progress.db") as progress:
        for card in rng.sample(cards, 60):
            progress.record_review(card.id, rng.randint(1, 4), now=START + timedelta(hours=rng.randint(0, 200)))
        session = plan_session(progress, decks, now, new_a_day=20)
        ours = {"due": [card.id for card in session.due], "new": [card.id for card in session.new]}
        export_progress(progress, tmp_path / "out.json")
        new_today = progress.new_today(now)
    page.evaluate("text => courseProgress.merge(text)", (tmp_path / "out.json").read_text())
    planned = """([ids, now, today]) => {
        const plan = courseCards.planned(ids.map(id => ({id})), courseProgress.cards(), now, 20, today);
        return {due: plan.due.map(card => card.id), new: plan.new.map(card => card.id)};
    }"""
    assert page.evaluate(planned, [[card.id for card in cards], milliseconds(now), new_today]) == ours
    mixed = page.evaluate("ids => courseCards.interleaved(ids.map(id => ({id}))).map(c => c.id)", [c.id for c in cards])
    assert mixed == [card.id for card in interleaved(cards)]


def test_progress_goes_both_ways_and_twice_changes_nothing(page, tmp_path):
    page.evaluate(
        """start => {
            courseProgress.recordReview("05-c-warmup", 3, start);
            courseProgress.recordReview("05-c-warmup", 3, start + 6e5);
            courseProgress.recordAnswer("05-q-norm", true, "1.6");
        }""",
        milliseconds(START),
    )
    (tmp_path / "site.json").write_text(page.evaluate("courseProgress.exported()"))
    with Progress.open(tmp_path / "progress.db") as progress:
        assert import_progress(progress, tmp_path / "site.json") == 3
        assert import_progress(progress, tmp_path / "site.json") == 0
        summary = progress.summary()
        export_progress(progress, tmp_path / "back.json")
    assert summary.questions == {"05-q-norm": True}
    due = page.evaluate("courseProgress.cards().get('05-c-warmup').due")
    assert milliseconds(summary.cards["05-c-warmup"]) == due
    assert page.evaluate("text => courseProgress.merge(text)", (tmp_path / "back.json").read_text()) == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "other"}, "this is no progress file"),
        ({"version": 2}, "this file has format 2"),
        ({"events": [{"id": "x"}]}, "event 1 of this file is not readable"),
    ],
)
def test_a_file_that_is_no_progress_is_refused_whole(page, change, complaint):
    file = {"format": "how-ai-models-are-trained/progress", "version": 1, "events": []} | change
    refused = "text => { try { courseProgress.merge(text) } catch (error) { return error.message } }"
    assert complaint in page.evaluate(refused, json.dumps(file))
    assert "this is no JSON" in page.evaluate(refused, "{")
    assert page.evaluate("courseProgress.events()") == []
