"""Scheduling: the same as the fsrs package gives, through JSON and back, and intervals a person can read."""

from datetime import UTC, datetime, timedelta

import pytest
from fsrs import Card, Scheduler
from fsrs import Rating as FsrsRating
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.memory.scheduling import due_at, interval, preview, rate, replay

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
reviews = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 60 * 24 * 90)), min_size=1, max_size=12)


def at_times(pairs):
    """Ratings with the minutes since the previous one, as ratings with times."""
    at, timed = MONDAY, []
    for rating, minutes in pairs:
        at += timedelta(minutes=minutes)
        timed.append((rating, at))
    return timed


@settings(deadline=None, derandomize=True, max_examples=60)
@given(reviews)
def test_a_replayed_state_is_what_fsrs_gives_without_json_between(pairs):
    card, scheduler = Card(card_id=0, due=MONDAY), Scheduler(enable_fuzzing=False)
    for rating, at in at_times(pairs):
        card, _ = scheduler.review_card(card, FsrsRating(rating), at)
    assert replay(at_times(pairs)) == card.to_json()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(reviews)
def test_a_better_rating_never_brings_a_card_back_sooner(pairs):
    *_, (_, last) = timed = at_times(pairs)
    state = replay(timed)
    returns = [due_at(rate(state, rating, last + timedelta(days=1))) for rating in (1, 2, 3, 4)]
    assert returns == sorted(returns)


def test_the_preview_is_what_the_rating_then_does():
    state = replay([(3, MONDAY), (3, MONDAY + timedelta(minutes=10))])
    later = MONDAY + timedelta(days=3)
    assert preview(state, later) == {r: interval(due_at(rate(state, r, later)) - later) for r in (1, 2, 3, 4)}
    assert preview(None, MONDAY) == {1: "1 min", 2: "6 min", 3: "10 min", 4: "8 days"}  # fsrs's own first steps


def test_a_card_is_recalled_with_90_percent_when_it_returns():
    state = replay([(4, MONDAY)])
    chance = Scheduler().get_card_retrievability(Card.from_json(state), due_at(state))
    assert chance == pytest.approx(0.9, abs=0.01)  # intervals are whole days


def test_other_time_zones_mean_the_same_moment():
    abroad = MONDAY.astimezone(datetime.strptime("+05:30", "%z").tzinfo)
    assert rate(None, 3, abroad) == rate(None, 3, MONDAY)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=-5), "1 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(minutes=59.6), "1 h"),
        (timedelta(hours=23.6), "1 day"),
        (timedelta(days=30), "30 days"),
        (timedelta(days=61), "2.0 months"),
        (timedelta(days=365), "1.0 years"),
    ],
)
def test_intervals_are_said_in_the_unit_that_fits(span, said):
    assert interval(span) == said


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"a rating is 1 \(again\).* got 5"):
        rate(None, 5, MONDAY)
    with pytest.raises(ValueError, match="times need a time zone, got 2026-03-02T09:00:00"):
        rate(None, 3, MONDAY.replace(tzinfo=None))
