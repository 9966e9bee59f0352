"""Quizzes and decks for web pages: what the scripts get, and what a reader without scripts sees."""

import json
import re

import pytest

from course_lib.study.material.deck import all_quizzes, load_deck, load_glossary, load_quiz
from course_lib.study.material.grading import right_answer
from course_lib.study.material.schema import Card, Deck, Glossary
from course_lib.study.site.panels import deck_panel, question_data, quiz_panel, review_panel, standing_panel

GLOSSARY = Glossary.model_validate(
    [{"id": "leak", "name": "Leak", "definition": "A leak is a peek.", "home": "00", "prerequisites": []}]
)


def data_of(panel):
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', panel)
    return json.loads(text)


def deck(*cards):
    return Deck(notebook="00", cards=tuple(Card(level="recall", concepts=("leak",), **card) for card in cards))


def test_a_quiz_holds_each_question_once_for_the_script_and_once_for_the_reader():
    quiz = load_quiz("05")
    panel = quiz_panel(quiz, load_glossary())
    ids = [question.id for question in quiz.questions]
    assert [question["id"] for question in data_of(panel)["questions"]] == ids
    assert re.findall(r'<li id="([^"]+)"', panel) == ids
    assert panel.count("<details>") == len(ids)


def test_every_question_carries_what_its_kind_is_judged_by():
    common = {"id", "kind", "level", "concepts", "prompt", "rows", "right"}
    more = {"numeric": {"answer", "tolerance", "unit", "explain"}, "ordering": {"explain"}}
    seen = set()
    for quiz in all_quizzes().values():
        for question in quiz.questions:
            data = question_data(question)
            assert set(data) == common | more.get(question.kind, {"why"}), question.id
            assert data["right"] == right_answer(question)
            if "why" in data:
                assert data["why"].keys() == data["rows"].keys()
            seen.add(question.kind)
    assert seen == {"single", "multiple", "numeric", "ordering", "output"}


def test_a_panel_names_the_concepts_it_links_to():
    quiz, glossary = load_quiz("05"), load_glossary()
    names = data_of(quiz_panel(quiz, glossary))["concepts"]
    assert set(names) == {concept for question in quiz.questions for concept in question.concepts}
    assert names["gradient-clipping"] == "Gradient clipping"


def test_no_text_of_a_card_can_end_the_script_it_stands_in():
    spoiler = "`</script><script>alert(1)</script>` and `<!--`"
    panel = deck_panel(deck({"id": "00-c-a", "front": spoiler, "back": "b"}), "Start", GLOSSARY)
    assert panel.count("</script>") == 1
    (card,) = data_of(panel)["decks"][0]["cards"]
    assert card["front"].startswith("<p><code>&lt;/script&gt;")


def test_maths_is_left_to_the_page():
    panel = deck_panel(deck({"id": "00-c-a", "front": "The loss $L_1 < 2$?", "back": "$$x$$"}), "Start", GLOSSARY)
    assert 'class="tex2jax_process"' in panel
    assert "The loss $L_1 &lt; 2$?" in panel
    assert "$$x$$" in panel


@pytest.mark.parametrize(("new_a_day", "make"), [(None, "deck"), (20, "review")])
def test_a_deck_gives_all_its_cards_and_a_review_some_new_ones_a_day(new_a_day, make):
    cards = deck({"id": "00-c-a", "front": "f", "back": "b"})
    panels = {
        "deck": lambda: deck_panel(cards, "Start", GLOSSARY),
        "review": lambda: review_panel({"00": cards}, {"00": "Start"}, GLOSSARY),
    }
    data = data_of(panels[make]())
    assert data["new_a_day"] == new_a_day
    assert [(entry["number"], entry["title"], len(entry["cards"])) for entry in data["decks"]] == [("00", "Start", 1)]


def test_standing_counts_what_there_is():
    assert data_of(standing_panel(7, 5)) == {"num_cards": 7, "num_questions": 5}


def test_cards_can_be_linked_to():
    cards = load_deck("05")
    panel = deck_panel(cards, "A loop", load_glossary())
    assert re.findall(r'<li id="([^"]+)"', panel) == [card.id for card in cards.cards]
