"""Quizzes and decks for a web page: data for the scripts, around a plain form that serves without them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from course_lib.study.material.grading import right_answer, shuffled_choices
from course_lib.study.material.markup import to_html, to_inline_html
from course_lib.study.material.schema import (
    Card,
    Deck,
    Glossary,
    NumericQuestion,
    OrderingQuestion,
    Question,
    Quiz,
)
from course_lib.study.material.static import answer_html, folded, lettered_html, prompt_html, question_html
from course_lib.study.memory.review import NEW_A_DAY


def quiz_panel(quiz: Quiz, glossary: Glossary) -> str:
    """Return a quiz as HTML that ``course-quiz.js`` brings to life; each question can be linked to by its id."""
    data = {
        "number": quiz.notebook,
        "questions": [question_data(question) for question in quiz.questions],
        "concepts": _names(glossary, quiz.questions),
    }
    plain = ((question.id, question_html(question) + answer_html(question)) for question in quiz.questions)
    return _panel("quiz", data, _list(plain))


def deck_panel(deck: Deck, title: str, glossary: Glossary) -> str:
    """Return a deck as HTML that ``course-cards.js`` brings to life; each card can be linked to by its id."""
    data = {"decks": [_deck_data(deck, title)], "concepts": _names(glossary, deck.cards), "new_a_day": None}
    plain = ((card.id, to_html(card.front) + folded(to_html(card.back))) for card in deck.cards)
    return _panel("cards", data, _list(plain))


def review_panel(decks: Mapping[str, Deck], titles: Mapping[str, str], glossary: Glossary) -> str:
    """Return all decks as one panel: what is due, then some new cards, notebooks mixed."""
    cards = [card for deck in decks.values() for card in deck.cards]
    data = {
        "decks": [_deck_data(deck, titles[number]) for number, deck in decks.items()],
        "concepts": _names(glossary, cards),
        "new_a_day": NEW_A_DAY,
    }
    return _panel("cards", data, "<p>Without JavaScript, read the cards notebook by notebook, below.</p>")


def standing_panel(num_cards: int, num_questions: int) -> str:
    """Return the panel that says how far the reader is, and saves and loads the progress kept in the browser."""
    data = {"num_cards": num_cards, "num_questions": num_questions}
    return _panel("standing", data, "<p>Progress is kept by JavaScript, which is off here.</p>")


def question_data(question: Question) -> dict[str, Any]:
    """Return all that the script needs to ask and to judge one question, its Markdown as HTML."""
    data: dict[str, Any] = {
        "id": question.id,
        "kind": question.kind,
        "level": question.level,
        "concepts": question.concepts,
        "prompt": prompt_html(question),
        "rows": lettered_html(question),
        "right": right_answer(question),
    }
    if isinstance(question, NumericQuestion):
        numbers = {"answer": question.answer, "tolerance": question.tolerance, "unit": question.unit}
        return data | numbers | {"explain": to_html(question.explain)}
    if isinstance(question, OrderingQuestion):
        return data | {"explain": to_html(question.explain)}
    return data | {"why": {letter: to_inline_html(c.why) for letter, c in shuffled_choices(question).items()}}


def _deck_data(deck: Deck, title: str) -> dict[str, Any]:
    cards = [
        {
            "id": card.id,
            "level": card.level,
            "concepts": card.concepts,
            "front": to_html(card.front),
            "back": to_html(card.back),
        }
        for card in deck.cards
    ]
    return {"number": deck.notebook, "title": title, "cards": cards}


def _names(glossary: Glossary, items: Sequence[Card | Question]) -> dict[str, str]:
    concepts = glossary.by_id()
    return {name: concepts[name].name for item in items for name in item.concepts}


def _list(items: Iterable[tuple[str, str]]) -> str:
    return "<ol>" + "".join(f'<li id="{item}">{html}</li>' for item, html in items) + "</ol>"


def _panel(kind: str, data: dict[str, Any], plain: str) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c")  # no tag ends the script
    script = f'<script type="application/json">{text}</script>'
    return f'<div class="tex2jax_process" data-course="{kind}">{script}{plain}</div>'
