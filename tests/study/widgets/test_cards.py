"""The card widget without a browser: show, rate, come back."""

from datetime import UTC, datetime, timedelta

import pytest

from course_lib.study.material.deck import load_deck
from course_lib.study.memory.review import Session
from course_lib.study.widgets.cards import CardsPanel


class FakeRecorder:
    def __init__(self, warning="", returns_in=timedelta(days=8)):
        self.warning, self.reviews, self._returns_in = warning, [], returns_in

    def session(self, cards):
        return Session([], list(cards))

    def previews(self, card_id):
        return {} if self.warning else {1: "1 min", 2: "6 min", 3: "10 min", 4: "8 days"}

    def review(self, card_id, rating):
        self.reviews.append((card_id, rating))
        return None if self.warning else datetime.now(UTC) + (timedelta(minutes=1) if rating == 1 else self._returns_in)

    def returns(self):
        return {} if self.warning else {"00-c-training": datetime.now(UTC) + timedelta(days=3)}


@pytest.fixture
def recorder():
    return FakeRecorder()


@pytest.fixture
def panel(course, recorder):
    return CardsPanel(load_deck("00"), recorder)


def visible(*widgets):
    return [widget.layout.display != "none" for widget in widgets]


def rate(panel, rating):
    panel.show.click()
    panel.ratings[rating].click()


def test_the_answer_is_hidden_until_asked_for(panel):
    assert "What is <em>training</em>?" in panel.front.value
    assert panel.back.value == ""
    assert visible(panel.back, panel.show, *panel.ratings.values()) == [False, True, False, False, False, False]
    panel.show.click()
    assert r"$\theta$" in panel.back.value
    assert visible(panel.back, panel.show, *panel.ratings.values()) == [True, False, True, True, True, True]
    assert [button.description for button in panel.ratings.values()] == [
        "Again (1 min)",
        "Hard (6 min)",
        "Good (10 min)",
        "Easy (8 days)",
    ]


def test_a_rating_is_recorded_and_the_next_card_comes(panel, recorder):
    rate(panel, 4)
    assert recorder.reviews == [("00-c-training", 4)]
    assert "That card returns in 8 days." in panel.told.value
    assert "What is a baseline?" in panel.front.value
    assert "2 to go" in panel.head.value


def test_again_brings_the_card_back_before_the_end(panel, recorder):
    rate(panel, 1)
    for _ in range(2):
        rate(panel, 4)
    assert "What is <em>training</em>?" in panel.front.value
    rate(panel, 4)
    assert [card for card, _ in recorder.reviews] == ["00-c-training", "00-c-baseline", "00-c-update", "00-c-training"]


def test_the_end_says_when_the_next_card_returns_and_offers_all(panel):
    for _ in range(3):
        rate(panel, 4)
    assert "Nothing is due now. The next card returns in 3 days." in panel.front.value
    assert visible(panel.show, panel.all) == [False, True]
    panel.all.click()
    assert "What is <em>training</em>?" in panel.front.value
    assert visible(panel.show, panel.all) == [True, False]


def test_without_a_record_the_cards_still_turn_and_a_warning_says_so(course):
    panel = CardsPanel(load_deck("00"), FakeRecorder(warning="Not recorded: disk full"))
    assert "Not recorded: disk full" in panel.told.value
    panel.show.click()
    assert panel.ratings[3].description == "Good"
    panel.ratings[3].click()
    assert "Not recorded: disk full" in panel.told.value
    assert "What is a baseline?" in panel.front.value
