"""The quiz widget without a browser: buttons clicked from Python, what is shown and what is recorded."""

import pytest

from course_lib.study.material.deck import load_glossary, load_quiz
from course_lib.study.material.grading import right_answer
from course_lib.study.widgets.quiz import QuizPanel


class FakeRecorder:
    def __init__(self, answered=None, warning=""):
        self._answered, self.warning, self.answers = answered or {}, warning, []

    def answered(self):
        return self._answered

    def answer(self, question_id, right, answer):
        self.answers.append((question_id, right, answer))


@pytest.fixture
def recorder():
    return FakeRecorder()


@pytest.fixture
def panel(course, recorder):
    return QuizPanel(load_quiz("00"), load_glossary(), recorder)


def visible(widget):
    return widget.layout.display != "none"


def choose(panel, letters):
    for letter in letters.split():
        panel.letters["ABCDEFGH".index(letter)].click()


def enter(panel, text):
    """What the browser sends for text and the Enter key: first the key, then the text."""
    panel.number._handle_custom_msg({"event": "submit"}, [])
    panel.number.value = text


def answer_rightly(panel):
    answer = right_answer(panel.question)
    if panel.question.kind == "numeric":
        enter(panel, answer)
    else:
        choose(panel, answer)
        panel.main.click()
    return answer


def letter_of(panel, right):
    letter = right_answer(panel.question)
    return letter if right else next(other for other in "ABC" if other != letter)


def test_it_begins_with_the_first_question(panel):
    assert panel.question.id == "00-q-leak"
    assert "Accuracy is 99 %." in panel.prompt.value
    assert [visible(row) for row in panel.rows] == [True, True, True]
    assert not visible(panel.number)
    assert (panel.main.description, visible(panel.again)) == ("Check", False)


def test_a_wrong_choice_is_told_why_at_once_and_recorded(panel, recorder):
    wrong = letter_of(panel, right=False)
    choose(panel, wrong)
    panel.main.click()
    assert recorder.answers == [("00-q-leak", False, wrong)]
    assert "Not quite." in panel.feedback.value
    assert "Too good to be true." in panel.feedback.value
    assert all(button.disabled for button in panel.letters)
    assert panel.letters["ABC".index(wrong)].description == f"\N{BALLOT X} {wrong}"


def test_choosing_another_takes_the_first_choice_back(panel, recorder):
    choose(panel, "A B")
    assert [button.description[0] for button in panel.letters] == [
        "\N{WHITE CIRCLE}",
        "\N{BLACK CIRCLE}",
        "\N{WHITE CIRCLE}",
    ]
    assert recorder.answers == []


def test_trying_again_records_a_second_answer(panel, recorder):
    choose(panel, letter_of(panel, right=False))
    panel.main.click()
    panel.again.click()
    assert panel.feedback.value == ""
    assert not panel.letters[0].disabled
    answer_rightly(panel)
    assert [right for _, right, _ in recorder.answers] == [False, True]


def test_checking_without_an_answer_records_nothing(panel, recorder):
    panel.main.click()
    assert "Choose an answer first." in panel.feedback.value
    assert recorder.answers == []


def test_all_kinds_answered_rightly_to_the_end(panel, recorder):
    given = []
    for _ in range(5):
        given.append(answer_rightly(panel))
        assert "Right." in panel.feedback.value
        if len(given) < 5:
            assert panel.main.description == "Next question"
            panel.main.click()
    ids = [question.id for question in load_quiz("00").questions]
    assert recorder.answers == [(name, True, answer) for name, answer in zip(ids, given, strict=True)]
    assert "All 5 answered, 5 right." in panel.feedback.value
    assert panel.main.description == "Start again"
    panel.main.click()
    assert panel.question.id == ids[0]


def test_the_end_names_what_to_look_at_again(panel):
    choose(panel, letter_of(panel, right=False))
    panel.main.click()
    for _ in range(4):
        panel.main.click()
        answer_rightly(panel)
    assert "All 5 answered, 4 right. Look again at: baseline (notebook 00)." in panel.feedback.value
    panel.main.click()
    assert panel.question.id == "00-q-leak"  # the one that was missed comes again


def test_a_number_that_cannot_be_read_is_not_counted(panel, recorder):
    for _ in range(3):
        panel.skip.click()
    assert panel.question.kind == "numeric"
    enter(panel, "0,2")
    assert "write a decimal point" in panel.feedback.value
    assert recorder.answers == []
    enter(panel, "0.2 s")
    assert recorder.answers == [("00-q-step", True, "0.2 s")]


def test_leaving_the_number_field_is_no_answer(panel, recorder):
    for _ in range(3):
        panel.skip.click()
    panel.number.value = "7"
    assert recorder.answers == []
    panel.main.click()
    assert recorder.answers == [("00-q-step", False, "7")]


def test_ordering_shows_the_places_chosen(panel, recorder):
    panel.previous.click()  # goes round to the last
    assert panel.question.kind == "ordering"
    choose(panel, "C A")
    assert [button.description for button in panel.letters] == ["2. A", "\N{MIDDLE DOT} B", "1. C"]
    panel.main.click()
    assert "put all 3 letters in order, got 2" in panel.feedback.value
    assert recorder.answers == []
    choose(panel, "C B C")
    assert [button.description for button in panel.letters] == ["1. A", "2. B", "3. C"]


def test_it_goes_on_where_the_learner_stopped(course):
    recorder = FakeRecorder({"00-q-leak": True, "00-q-parts": False, "01-q-other": True})
    panel = QuizPanel(load_quiz("00"), load_glossary(), recorder)
    assert panel.question.id == "00-q-parts"
    assert 'title="1 right, 1 wrong"' in panel.head.value


def test_a_failure_to_record_is_one_line_beside_the_feedback(course):
    panel = QuizPanel(load_quiz("00"), load_glossary(), FakeRecorder(warning="Not recorded:\n<disk> full"))
    answer_rightly(panel)
    assert "Right." in panel.feedback.value
    assert '<p class="course-warning">Not recorded: &lt;disk&gt; full</p>' in panel.feedback.value


def test_two_panels_of_one_quiz_do_not_disturb_each_other(course):
    first, second = (QuizPanel(load_quiz("00"), load_glossary(), FakeRecorder()) for _ in range(2))
    answer_rightly(first)
    first.main.click()
    assert (first.question.id, second.question.id) == ("00-q-parts", "00-q-leak")
    assert second.feedback.value == ""
