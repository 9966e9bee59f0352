"""The order of a review session: due before new, notebooks in turn, a few new cards a day, cards that come back."""

from datetime import UTC, datetime, timedelta

import pytest

from course_lib.study.material.schema import Card, Deck
from course_lib.study.memory.progress import Progress
from course_lib.study.memory.review import Session, interleaved, plan_session

MONDAY = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def card(card_id):
    return Card(id=card_id, front="f", back="b", concepts=("x",), level="recall")


def deck(number, *names):
    return Deck(notebook=number, cards=tuple(card(f"{number}-c-{name}") for name in names))


@pytest.fixture
def decks():
    return {"00": deck("00", "a", "b", "c"), "01": deck("01", "d", "e"), "02": deck("02", "f")}


@pytest.fixture
def progress(tmp_path):
    with Progress.open(tmp_path / "progress.db") as progress:
        yield progress


def ids(cards):
    return [card.id[5:] for card in cards]


def test_notebooks_take_turns(decks):
    assert ids(interleaved(card for deck in decks.values() for card in deck.cards)) == list("adfbec")


def test_due_cards_come_first_and_the_rest_of_the_day_s_new_ones_after(progress, decks):
    yesterday = MONDAY - timedelta(days=1)
    progress.record_review("00-c-c", 1, now=yesterday)
    progress.record_review("00-c-b", 1, now=yesterday + timedelta(minutes=5))
    progress.record_review("01-c-e", 4, now=MONDAY)  # new today, and not due
    progress.record_review("09-c-gone", 1, now=yesterday)  # no longer in any deck
    session = plan_session(progress, decks, MONDAY, new_a_day=3)
    assert ids(session.due) == ["c", "b"]  # the longest overdue first
    assert ids(session.new) == ["a", "d"]  # one of three was seen today already
    assert plan_session(progress, decks, MONDAY, new_a_day=1).new == []
    assert len(session) == 4


def test_a_card_comes_back_when_its_time_has_come_or_nothing_else_is_left():
    session = Session([card("00-c-a")], [card("00-c-b"), card("00-c-c")])
    first = session.next_card(MONDAY)
    session.put_back(first, MONDAY + timedelta(minutes=1), MONDAY)
    assert session.next_card(MONDAY).id == "00-c-b"
    assert session.next_card(MONDAY + timedelta(minutes=1)) is first  # before the last new card
    session.put_back(first, MONDAY + timedelta(minutes=11), MONDAY + timedelta(minutes=1))
    assert session.next_card(MONDAY + timedelta(minutes=2)).id == "00-c-c"
    assert session.next_card(MONDAY + timedelta(minutes=2)) is first  # early, rather than end the session
    assert session.next_card(MONDAY) is None


def test_a_card_that_returns_tomorrow_leaves_the_session():
    session = Session([], [])
    session.put_back(card("00-c-a"), MONDAY + timedelta(minutes=21), MONDAY)
    assert len(session) == 0
    session.put_back(card("00-c-a"), MONDAY + timedelta(minutes=20), MONDAY)
    assert len(session) == 1
