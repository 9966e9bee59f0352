"""The recorder: what widgets do reaches the progress file, and a file that cannot be used becomes one warning."""

from datetime import UTC, datetime

import pytest

from course_lib.study.material.deck import load_deck
from course_lib.study.memory.progress import Progress
from course_lib.study.widgets.record import Recorder


@pytest.fixture
def broken():
    def fail():
        raise OSError("disk full")

    return Recorder(fail)


def test_answers_and_reviews_are_recorded(course):
    recorder = Recorder()
    recorder.answer("00-q-leak", True, "B")
    due = recorder.review("00-c-training", 4)
    with Progress.open() as progress:
        summary = progress.summary()
    assert summary.questions == {"00-q-leak": True} == recorder.answered()
    assert summary.cards == {"00-c-training": due} == recorder.returns()
    assert recorder.warning == ""


def test_a_session_holds_new_cards_and_none_that_return_later(course):
    cards = load_deck("00").cards
    Recorder().review("00-c-training", 4)
    session = Recorder().session(cards)
    assert (session.due, [card.id for card in session.new]) == ([], ["00-c-baseline", "00-c-update"])


def test_a_due_card_comes_first(course):
    with Progress.open() as progress:
        progress.record_review("00-c-update", 3, now=datetime(2026, 1, 5, tzinfo=UTC))
    session = Recorder().session(load_deck("00").cards)
    assert session.next_card(datetime.now(UTC)).id == "00-c-update"


def test_a_failure_becomes_a_warning_and_nothing_else(broken, course):
    broken.answer("00-q-leak", True, "B")
    assert broken.warning == "Not recorded: disk full"
    assert broken.review("00-c-training", 3) is None
    assert (broken.answered(), broken.returns(), broken.previews("00-c-training")) == ({}, {}, {})
    assert len(broken.session(load_deck("00").cards)) == 3


def test_a_damaged_file_is_told_of_and_a_new_one_is_begun(course, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "progress.db").write_bytes(b"no database at all, but long enough to be read" * 50)
    recorder = Recorder()
    recorder.answer("00-q-leak", True, "B")
    assert "set aside" in recorder.warning
    assert recorder.answered() == {"00-q-leak": True}
    assert recorder.warning == ""
