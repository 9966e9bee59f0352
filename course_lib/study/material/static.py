"""Quizzes and decks as static HTML and plain text: what a reader of the stored page sees, answers folded away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from course_lib.study.material.grading import right_answer, shuffled_choices, shuffled_items
from course_lib.study.material.markup import to_html, to_inline_html
from course_lib.study.material.schema import (
    Deck,
    MultipleQuestion,
    NumericQuestion,
    OrderingQuestion,
    OutputQuestion,
    Question,
    Quiz,
)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def quiz_html(quiz: Quiz) -> str:
    """Return a quiz as HTML without script: questions, choices in the shuffled order, answers in ``<details>``."""
    return _list_html(f"Quiz {quiz.notebook}", (question_html(item) + answer_html(item) for item in quiz.questions))


def deck_html(deck: Deck) -> str:
    """Return a deck as HTML without script: the fronts, each with its back in ``<details>``."""
    return _list_html(
        f"Cards {deck.notebook}", (to_html(card.front) + folded(to_html(card.back)) for card in deck.cards)
    )


def quiz_text(quiz: Quiz) -> str:
    """Return the questions and choices as plain text, without the answers, which plain text cannot fold away."""
    head = f"Quiz {quiz.notebook}: run this cell to answer here, or `course quiz {quiz.notebook}` in a terminal."
    return "\n\n".join([head, *(f"{n}. {_question_text(question)}" for n, question in enumerate(quiz.questions, 1))])


def deck_text(deck: Deck) -> str:
    """Return the fronts of the cards as plain text."""
    head = f"Cards {deck.notebook}: run this cell to turn them here, or `course cards {deck.notebook}` in a terminal."
    return "\n".join([head, "", *(f"{n}. {card.front.strip()}" for n, card in enumerate(deck.cards, 1))])


def question_html(question: Question) -> str:
    """Return what a question asks and its choices, without its answer."""
    choices = "".join(f"<li>{html}</li>" for html in lettered_html(question).values())
    return prompt_html(question) + (f'<ol type="A">{choices}</ol>' if choices else "")


def prompt_html(question: Question) -> str:
    """Return the prompt, the code of a predict-the-output question, and how to answer."""
    code = f"<pre><code>{escape(question.code.strip())}</code></pre>" if isinstance(question, OutputQuestion) else ""
    return f"{to_html(question.prompt)}{code}<p><em>{escape(how_to_answer(question))}</em></p>"


def how_to_answer(question: Question) -> str:
    """Return the instruction of a question, such as ``"Choose all that are right."``."""
    if isinstance(question, NumericQuestion):
        return f"Give a number, in {question.unit}." if question.unit else "Give a number."
    if isinstance(question, OrderingQuestion):
        return "Choose them in order, from first to last."
    return "Choose all that are right." if isinstance(question, MultipleQuestion) else "Choose one."


def lettered_html(question: Question) -> dict[str, str]:
    """Return the choices or items of a question as HTML, by their letters, in the order shown; none for a number."""
    if isinstance(question, NumericQuestion):
        return {}
    if isinstance(question, OrderingQuestion):
        return {letter: to_inline_html(item) for letter, item in shuffled_items(question).items()}
    if isinstance(question, OutputQuestion):
        choices = shuffled_choices(question).items()
        return {letter: f"<pre><code>{escape(choice.text.strip())}</code></pre>" for letter, choice in choices}
    return {letter: to_inline_html(choice.text) for letter, choice in shuffled_choices(question).items()}


def answer_html(question: Question) -> str:
    """Return what is right and why, folded away."""
    if isinstance(question, NumericQuestion | OrderingQuestion):
        body = f"<p><strong>{escape(right_answer(question))}</strong></p>{to_html(question.explain)}"
    else:
        body = "".join(
            f"<li>{'<strong>Right.</strong>' if choice.right else 'Not right.'} {to_inline_html(choice.why)}</li>"
            for choice in shuffled_choices(question).values()
        )
        body = f'<ol type="A">{body}</ol>'
    return folded(body)


def folded(html: str) -> str:
    """Return HTML that is shown on request, under the word "Answer"."""
    return f"<details><summary>Answer</summary>{html}</details>"


def strip_widgets(notebook: dict[str, Any]) -> None:
    """Remove live widgets from a notebook in place: their views and all their state; the static forms stay.

    An output that was nothing but a widget goes altogether.
    """
    notebook.get("metadata", {}).pop("widgets", None)
    for cell in notebook.get("cells", []):
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if not _only_a_widget(output)]
            for output in cell["outputs"]:
                output.get("data", {}).pop(WIDGET_VIEW, None)


def _list_html(title: str, items: Iterable[str]) -> str:
    rows = "".join(f'<li style="margin-bottom: 1em">{item}</li>' for item in items)
    return f"<section><p><strong>{title}</strong></p><ol>{rows}</ol></section>"


def _only_a_widget(output: dict[str, Any]) -> bool:
    data = output.get("data", {})
    return WIDGET_VIEW in data and not set(data) - {WIDGET_VIEW, "text/plain"}


def _question_text(question: Question) -> str:
    return "\n".join([question.prompt.strip(), *_lines_below(question), f"   {how_to_answer(question)}"])


def _lines_below(question: Question) -> Iterator[str]:
    if isinstance(question, OutputQuestion):
        yield from (f"    {line}" for line in question.code.strip().splitlines())
    if isinstance(question, OrderingQuestion):
        yield from (f"   {letter}. {item.strip()}" for letter, item in shuffled_items(question).items())
    elif not isinstance(question, NumericQuestion):
        yield from (f"   {letter}. {choice.text.strip()}" for letter, choice in shuffled_choices(question).items())
