"""A learner in JupyterLab: runs the first notebook, answers, turns cards, solves an exercise, comes back later.

The tests go on from one another, as a learner does.
"""

import re

import pytest

from course_lib.study.material.deck import load_deck, load_quiz
from course_lib.study.material.grading import right_answer
from course_lib.study.material.schema import SingleQuestion

NOTEBOOK, QUIZ, CARDS, EXERCISE = "my/00_start_here.ipynb", "quiz-code", "cards-code", "ex-majority-code"
WRONG = "return float((train_labels == train_labels.mode().values).float().mean())"
RIGHT = "return float((test_labels == train_labels.mode().values).float().mean())"
FIRST = load_quiz("00").questions[0]


@pytest.fixture(scope="module")
def page(tab):
    """The notebook, opened and run from first to last."""
    tab.open(NOTEBOOK)
    assert tab.run_all() == []
    return tab


def letter(cell, name):
    return cell.get_by_role("button", name=re.compile(rf"\b{name}$"))


def button(cell, name):
    return cell.get_by_role("button", name=name, exact=True)


def feedback(cell):
    return cell.get_by_role("status").last


def answer(cell, name):
    """Choose a letter, check it, and return what is said."""
    letter(cell, name).click()
    button(cell, "Check").click()
    button(cell, "Next question").wait_for()
    return feedback(cell).inner_text()


def test_a_question_answered_wrongly_and_then_rightly(page):
    assert isinstance(FIRST, SingleQuestion)
    right = right_answer(FIRST)
    wrong = next(name for name in "ABCD" if name != right)
    cell = page.cell(QUIZ)
    assert FIRST.prompt in cell.inner_text()

    said = answer(cell, wrong)
    assert said.startswith("Not")
    assert page.progress()[0].questions == {FIRST.id: False}
    button(cell, "Try again").click()
    said = answer(cell, right)
    assert said.startswith("Right")
    assert page.progress()[0].questions == {FIRST.id: True}


def test_formulas_of_a_question_are_set(page):
    """The second question has formulas; none is left as it was typed."""
    cell = page.cell(QUIZ)
    button(cell, "Next question").click()
    cell.locator("mjx-container").first.wait_for()
    assert "$" not in cell.locator(".course-study").inner_text()


def test_a_card_is_turned_and_rated(page):
    first = load_deck("00").cards[0]
    cell = page.cell(CARDS)
    assert first.back[:30] not in cell.inner_text()
    button(cell, "Show answer").click()
    cell.get_by_text(first.back[:30]).wait_for()
    cell.get_by_role("button", name=re.compile("^Good")).click()
    cell.get_by_text("That card returns in").wait_for()
    assert list(page.progress()[0].cards) == [first.id]


def test_an_exercise_rejects_a_wrong_answer_and_takes_a_right_one(page):
    stub = page.source(EXERCISE)
    assert "    ...\n" in stub
    wrong = page.run(EXERCISE, stub.replace("...", WRONG))
    said = wrong.locator(".jp-OutputArea").inner_text()
    assert "00.1 wrong" in said
    assert page.progress()[0].exercises == {"00.1": False}

    right = page.run(EXERCISE, stub.replace("...", RIGHT))
    assert "00.1 right" in right.locator(".jp-OutputArea").inner_text()
    assert page.progress()[0].exercises == {"00.1": True}


def test_a_hint_and_the_solution_are_shown_on_request(page):
    source = page.source(EXERCISE)
    hinted = page.run(EXERCISE, source.replace("# hint", "hint")).locator(".jp-OutputArea").inner_text()
    assert "Hint 1" in hinted
    solved = page.run(EXERCISE, source.replace("# solution", "solution")).locator(".jp-OutputArea").inner_text()
    assert "bincount" in solved
    page.run(EXERCISE, source)
    page.save()


def test_after_a_reload_the_page_is_as_it_was_left(page):
    page.reload()
    assert RIGHT in page.source(EXERCISE)
    assert "00.1 right" in page.cell(EXERCISE).locator(".jp-OutputArea").inner_text()
    assert page.progress()[0].questions == {FIRST.id: True}


def test_letters_typed_at_a_question_are_no_commands_of_jupyterlab(page):
    """With the focus on a button "b" would add a cell; the page has just been loaded again."""
    cell = page.cell(QUIZ)
    count = page.num_cells()
    button(cell, "Skip").focus()
    page.page.keyboard.press("b")
    page.page.keyboard.press("a")
    assert page.num_cells() == count
    page.page.keyboard.press("Enter")  # this one is for the button
    cell.get_by_text("question 3 of").wait_for()


def test_after_a_restart_of_the_kernel_the_quiz_goes_on_where_it_was(page):
    page.restart_kernel()
    page.run("imports")
    cell = page.run(QUIZ)
    cell.get_by_text("question 2 of").wait_for()
    cell = page.run(CARDS)
    assert load_deck("00").cards[1].front[:20] in cell.inner_text()
    assert [event.subject for event in page.progress()[1]].count(FIRST.id) == 2


def test_nothing_left_the_machine_and_nothing_was_complained_of(page):
    assert page.left == []
    assert page.complaints == []
