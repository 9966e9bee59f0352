"""Grading: every kind of question with right, wrong and unreadable answers, and an order that never changes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.material.deck import load_quiz
from course_lib.study.material.grading import (
    grade,
    parse_number,
    right_answer,
    shuffled,
    shuffled_choices,
    shuffled_items,
)
from course_lib.study.material.schema import NumericQuestion


@pytest.fixture
def questions(course):
    return {question.kind: question for question in load_quiz("00").questions}


def letters(question, right):
    return [letter for letter, choice in shuffled_choices(question).items() if choice.right is right]


@pytest.mark.parametrize("kind", ["single", "multiple", "output", "numeric", "ordering"])
def test_the_right_answer_is_right(questions, kind):
    assert grade(questions[kind], right_answer(questions[kind])).right


@pytest.mark.parametrize("kind", ["single", "output"])
def test_a_wrong_choice_is_told_why_and_what_was_right(questions, kind):
    question = questions[kind]
    wrong, right = letters(question, False)[0], letters(question, True)[0]
    verdict = grade(question, wrong.lower())
    assert not verdict.right
    assert f"**{wrong}** is not right: {shuffled_choices(question)[wrong].why}" in verdict.feedback
    assert f"**{right}** is right: {shuffled_choices(question)[right].why}" in verdict.feedback


def test_multiple_needs_all_right_ones_and_no_other(questions):
    question = questions["multiple"]
    (wrong,), (first, second) = letters(question, False), letters(question, True)
    assert grade(question, f"{second},{first}").right
    partly = grade(question, first)
    assert not partly.right
    assert f"**{second}** was missed" in partly.feedback
    too_many = grade(question, f"{first} {second} {wrong}")
    assert not too_many.right
    assert f"**{wrong}** is not right: Never." in too_many.feedback
    assert "was missed" not in too_many.feedback


def test_ordering_names_the_first_wrong_place(questions):
    question = questions["ordering"]
    first, second, third = right_answer(question).split()
    verdict = grade(question, f"{first} {third} {second}")
    assert not verdict.right
    assert f"number 2: you put {third}, {second} belongs there" in verdict.feedback


def test_ordering_shows_never_the_right_order(questions):
    for name in range(30):
        question = questions["ordering"].model_copy(update={"id": f"00-q-order{name}"})
        assert list(shuffled_items(question).values()) != list(question.items)


@pytest.mark.parametrize("answer", ["0.2", "0.2 s", "0.2s", ".2", "2e-1", "1/5", "0.201", "0.199", "+0.2"])
def test_numbers_within_tolerance_are_right(questions, answer):
    assert grade(questions["numeric"], answer).right


@pytest.mark.parametrize("answer", ["0.2011", "-0.2", "\N{MINUS SIGN}0.2", "2"])
def test_numbers_outside_are_wrong_and_are_told_the_answer(questions, answer):
    verdict = grade(questions["numeric"], answer)
    assert not verdict.right
    assert "The answer is 0.2 s." in verdict.feedback
    assert "Rate times slope." in verdict.feedback


@pytest.mark.parametrize(
    ("kind", "answer", "message"),
    [
        ("single", "Z", "letters from A to C, each at most once, got 'Z'"),
        ("single", "", "letters from A to C"),
        ("single", "A B", "one right answer"),
        ("multiple", "A A", "each at most once"),
        ("ordering", "A B", "put all 3 letters in order, got 2: A B"),
        ("numeric", "0,2", "write a decimal point"),
        ("numeric", "fast", "expected a number"),
        ("numeric", "nan", "expected a number"),
        ("numeric", "0.2 ms", "the answer is asked in s, got 'ms'"),
        ("numeric", "1/0", "divides by zero"),
        ("numeric", "1e999", "too large"),
    ],
)
def test_an_unreadable_answer_is_no_wrong_answer(questions, kind, answer, message):
    with pytest.raises(ValueError, match=message):
        grade(questions[kind], answer)


def test_a_unit_is_refused_where_none_is_asked():
    with pytest.raises(ValueError, match="without a unit"):
        parse_number("3 s")


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None, derandomize=True)
def test_a_number_as_python_writes_it_is_read_exactly(value):
    assert parse_number(repr(value)) == value


@given(st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-12))
@settings(deadline=None, derandomize=True)
def test_the_right_answer_as_shown_is_accepted_even_at_tolerance_zero(answer):
    question = NumericQuestion(
        **{"id": "00-q-n", "kind": "numeric", "level": "compute", "prompt": "?", "concepts": ["x"]},
        **{"answer": answer, "tolerance": 0, "unit": "", "compute": "1", "explain": "."},
    )
    assert grade(question, right_answer(question)).right


def test_the_order_is_the_same_on_every_machine():  # sha256 of "seed/index", sorted: written down once, kept for good
    assert shuffled("abcd", "00-q-leak") == ["d", "c", "a", "b"]


def test_right_choices_come_in_all_positions():
    places = [shuffled(range(4), f"00-q-{name}").index(0) for name in range(400)]
    spread = [places.count(place) for place in range(4)]
    assert max(abs(count - 100) for count in spread) < 5 * math.sqrt(400 * 3 / 16)  # five standard deviations
