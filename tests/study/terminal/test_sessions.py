"""Reviewing, leafing and quizzing in a terminal without a keyboard: what is shown, asked and recorded."""

import io
import sys
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from course_lib.study.material.deck import all_decks, load_deck, load_glossary, load_quiz
from course_lib.study.memory.progress import Progress
from course_lib.study.terminal.cards import leaf_through, review_in_terminal
from course_lib.study.terminal.console import Leave, Terminal
from course_lib.study.terminal.quiz import quiz_in_terminal

MONDAY = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def progress(course):
    with Progress.open() as progress:
        yield progress


@pytest.fixture
def terminal():
    return Terminal(Console(file=io.StringIO(), width=100))


@pytest.fixture
def typed(monkeypatch):
    """Give the lines that stand in for what is typed."""
    return lambda *lines: monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def shown(terminal):
    return terminal.console.file.getvalue()


def test_a_review_shows_both_sides_records_the_rating_and_says_when_the_card_returns(terminal, progress, typed):
    typed("", "4", "", "4", "", "4", "", "4")
    assert review_in_terminal(terminal, progress, all_decks(), clock=lambda: MONDAY) == 4
    text = shown(terminal)
    assert "0 due, 4 new." in text
    assert text.index("What is training?") < text.index("Adjusting θ so that L(θ) falls.")
    assert text.index("notebook 00") < text.index("notebook 01") < text.index("What is a baseline?")  # in turn
    assert "θ ← θ − η ∇ L" in text
    assert text.count("Easy: returns in 8 days.") == 4
    assert "4 of 4 done" in text
    assert "4 rated. Cards return: 4 in more than a week, the next in 8 days. Not seen yet: 0." in text
    assert [event.result for event in progress.events()] == [4, 4, 4, 4]


def test_a_card_rated_again_comes_back_in_the_same_session(terminal, progress, typed):
    typed("", "1", "", "4", "", "4")
    clock = iter(MONDAY + timedelta(seconds=second) for second in range(1000))
    decks = {"01": load_deck("01")}
    assert review_in_terminal(terminal, progress, decks, clock=lambda: next(clock)) == 2
    assert "Again: returns in 1 min." in shown(terminal)
    assert [event.result for event in progress.events()] == [1, 4]


def test_the_next_day_what_is_due_comes_before_what_is_new(terminal, progress, typed):
    progress.record_review("01-c-risk", 3, now=MONDAY - timedelta(days=1))
    typed("", "3", "q")
    assert review_in_terminal(terminal, progress, all_decks(), clock=lambda: MONDAY) == 1
    text = shown(terminal)
    assert "1 due, 3 new." in text
    assert "notebook 01 · review" in text
    assert text.index("What is empirical risk?") < text.index("What is training?")


@pytest.mark.parametrize("lines", [["", "3", "q"], ["", "3", "", "q"], ["", "3"], ["", "3", ""]])
def test_leaving_or_the_end_of_the_input_keeps_what_was_rated(terminal, progress, typed, lines):
    typed(*lines)
    assert review_in_terminal(terminal, progress, all_decks(), clock=lambda: MONDAY) == 1
    assert "every card rated so far is recorded" in shown(terminal)
    assert len(progress.events()) == 1


def test_ctrl_c_keeps_what_was_rated(terminal, progress, monkeypatch):
    class Interrupted(io.StringIO):
        def readline(self, *args):
            line = super().readline(*args)
            if not line:
                raise KeyboardInterrupt
            return line

    monkeypatch.setattr(sys, "stdin", Interrupted("\n3\n\n"))
    assert review_in_terminal(terminal, progress, all_decks(), clock=lambda: MONDAY) == 1
    assert "Stopped" in shown(terminal)
    assert len(progress.events()) == 1


def test_keys_that_mean_nothing_are_passed_over(terminal, progress, typed):
    typed("x", "3", "", "5", "x", "4", "q")
    assert review_in_terminal(terminal, progress, all_decks(), clock=lambda: MONDAY) == 1
    assert [event.result for event in progress.events()] == [4]


def test_nothing_due_says_when_the_next_card_returns(terminal, progress, typed):
    progress.record_review("01-c-risk", 3, now=MONDAY)
    typed()
    later = MONDAY + timedelta(minutes=4)
    assert review_in_terminal(terminal, progress, {"01": load_deck("01")}, clock=lambda: later) == 0
    assert "Nothing is due now." in shown(terminal)
    assert "the next in 6 min" in shown(terminal)


def test_leafing_shows_all_cards_and_rates_only_when_asked(terminal, progress, typed):
    typed("", "", "", "2", "", "")
    leaf_through(terminal, progress, load_deck("00"), "00 In one sitting")
    assert "That was the last one." in shown(terminal)
    assert [(event.subject, event.result) for event in progress.events()] == [("00-c-baseline", 2)]


def test_a_quiz_asks_every_kind_tells_at_once_and_records(terminal, progress, typed):
    typed("B", "nonsense", "A C", "A", "0.2", "C A B")
    right, answered = quiz_in_terminal(terminal, progress, load_quiz("00"), load_glossary())
    assert (right, answered) == (3, 5)
    text = shown(terminal)
    assert text.index("Right. Too good to be true.") < text.index("What does an update need?")
    assert "This cannot be read: expected letters from A to C" in text
    assert "C is not right: Never." in text
    assert "print([w - 0.5 for w in (1, 2)])" in text
    assert "[0.5, 1.5]" in text  # not taken for rich's markup
    assert "A number, in s: 0.2" in text
    assert "η = 0.1" in text
    assert "3 of 5 right" in text
    assert "Look again at: training (notebook 00)." in text
    recorded = [(event.subject, event.result, event.answer) for event in progress.events()]
    assert recorded == [
        ("00-q-leak", 1, "B"),
        ("00-q-parts", 0, "A C"),
        ("00-q-print", 1, "A"),
        ("00-q-step", 1, "0.2"),
        ("00-q-order", 0, "C A B"),
    ]


def test_only_what_was_missed_is_asked_again(terminal, progress, typed):
    for question in ("00-q-leak", "00-q-print", "00-q-step", "00-q-order"):
        progress.record_answer(question, True, "")
    progress.record_answer("00-q-order", False, "")
    typed("A B", "q")
    assert quiz_in_terminal(terminal, progress, load_quiz("00"), load_glossary(), missed_only=True) == (1, 1)
    assert "2 questions." in shown(terminal)
    assert "1 of 1 right, 1 not answered." in shown(terminal)


def test_prompts_do_not_give_the_answer_away(terminal, progress, typed):
    typed("q")
    order = next(question for question in load_quiz("00").questions if question.kind == "ordering")
    quiz_in_terminal(terminal, progress, load_quiz("00").model_copy(update={"questions": (order,)}), load_glossary())
    assert "C B A" not in shown(terminal)  # the right order here


class Keyboard(io.StringIO):
    def isatty(self):
        return True


def test_single_keys_typed_ahead_are_kept(terminal, monkeypatch):
    arrived = iter([" 3", "\x1b[A", "\r", "Q"])
    monkeypatch.setattr(sys, "stdin", Keyboard())
    monkeypatch.setattr("typer.getchar", lambda: next(arrived))
    assert terminal.key("", " ") == " "
    assert terminal.key("", "1234") == "3"
    assert terminal.key("", " ") == " "  # the arrow means nothing, Enter is as good as space
    with pytest.raises(Leave):
        terminal.key("", "1234")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, EOFError])
def test_ctrl_c_and_ctrl_d_at_the_keyboard_leave(terminal, monkeypatch, interruption):
    def interrupted():
        raise interruption

    monkeypatch.setattr(sys, "stdin", Keyboard())
    monkeypatch.setattr("typer.getchar", interrupted)
    with pytest.raises(Leave):
        terminal.key("", " ")
