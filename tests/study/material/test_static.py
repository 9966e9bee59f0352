"""The static pages: answers folded away, no script, and nothing left of live widgets in a stored notebook."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from course_lib.study.material.deck import load_deck, load_quiz
from course_lib.study.material.grading import shuffled_choices
from course_lib.study.material.static import WIDGET_VIEW, deck_html, deck_text, quiz_html, quiz_text, strip_widgets


def outside_details(html):
    return re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)


def test_answers_are_in_the_page_but_only_folded_away(course):
    quiz, html = load_quiz("00"), quiz_html(load_quiz("00"))
    seen = outside_details(html)
    for question in quiz.questions[:3]:
        for choice in question.choices:
            assert choice.text in seen
            assert choice.why in html
            assert choice.why not in seen
    for hidden in ("0.2 s", "Rate times slope.", "Split first."):
        assert hidden in html
        assert hidden not in seen
    assert html.count("<details>") == len(quiz.questions)


def test_choices_stand_in_the_order_of_the_widget(course):
    question = load_quiz("00").questions[0]
    html = outside_details(quiz_html(load_quiz("00")))
    places = [html.index(choice.text) for choice in shuffled_choices(question).values()]
    assert places == sorted(places)


def test_backs_of_cards_are_folded_away_and_maths_is_left_for_mathjax(course):
    html = deck_html(load_deck("00"))
    assert r"$$\theta \leftarrow \theta - \eta \nabla L$$" in html
    assert r"\leftarrow" not in outside_details(html)
    assert "What is <em>training</em>?" in outside_details(html)


def test_pages_carry_no_script_and_no_event_handler(course):
    for html in (quiz_html(load_quiz("00")), deck_html(load_deck("00"))):
        assert not re.search(r"<script|<style|<img|\son\w+=|javascript:", html, re.IGNORECASE)


def test_plain_text_has_the_questions_and_no_answers(course):
    text = quiz_text(load_quiz("00"))
    for shown in ("1. Accuracy is 99 %.", "Give a number, in s.", "print([w - 0.5", "A leak", "course quiz 00"):
        assert shown in text
    for hidden in ("Too good to be true.", "0.2", "Rate times slope."):
        assert hidden not in text
    assert "What is *training*?" in deck_text(load_deck("00"))
    assert "falls" not in deck_text(load_deck("00"))


@pytest.fixture
def executed(course):
    """A notebook that shows a quiz and cards, run by a real kernel that keeps widget state."""
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('from course_lib.study import cards, quiz\n\nquiz("00")'),
            nbformat.v4.new_code_cell('cards("00")'),
        ]
    )
    NotebookClient(notebook, kernel_name="python3", store_widget_state=True, timeout=120).execute()
    return notebook


def test_stored_outputs_carry_the_folded_fallback_and_no_widget(executed, course):
    outputs = [output for cell in executed.cells for output in cell.outputs]
    assert [set(output.data) for output in outputs] == [{WIDGET_VIEW, "text/html", "text/plain"}] * 2  # one bundle each
    assert executed.metadata.widgets
    strip_widgets(executed)
    stored = json.loads(nbformat.writes(executed))
    assert "widget" not in json.dumps(stored["metadata"])
    assert [set(cell["outputs"][0]["data"]) for cell in stored["cells"]] == [{"text/html", "text/plain"}] * 2
    html = [cell.outputs[0].data["text/html"] for cell in executed.cells]
    assert html == [quiz_html(load_quiz("00")), deck_html(load_deck("00"))]


def test_an_output_that_is_only_a_widget_goes_and_others_stay():
    widget = {"output_type": "display_data", "data": {WIDGET_VIEW: {"model_id": "x"}, "text/plain": "VBox()"}}
    figure = {"output_type": "display_data", "data": {"image/png": "...", "text/plain": "a line"}}
    stream = {"output_type": "stream", "name": "stdout", "text": "3\n"}
    notebook = {
        "metadata": {"widgets": {"state": {}}, "course": {}},
        "cells": [{"cell_type": "code", "outputs": [widget, figure, stream]}, {"cell_type": "markdown"}],
    }
    strip_widgets(notebook)
    assert notebook == {
        "metadata": {"course": {}},
        "cells": [{"cell_type": "code", "outputs": [figure, stream]}, {"cell_type": "markdown"}],
    }
