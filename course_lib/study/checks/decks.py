"""How many cards and questions a notebook has, of what level, and whether guessing the longest choice would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Page, joined
from course_lib.study.material.schema import Card, Concept, Deck, OutputQuestion, Question, Quiz, SingleQuestion
from course_lib.study.material.static import deck_html, quiz_html

CARDS = (14, 24)
QUESTIONS = (10, 18)
ABOVE_RECALL = 1 / 3
MAX_LONGEST = 0.4


def check_deck(deck: Deck, file: str, concepts: Mapping[str, Concept]) -> list[Complaint]:
    """Complain about the number and level of a notebook's cards, and about ones that come before their time."""
    return [
        *_count(len(deck.cards), CARDS, "cards", file),
        *_levels(deck.cards, "cards", file),
        *_too_early(deck.cards, deck.notebook, file, concepts),
    ]


def check_quiz(quiz: Quiz, file: str, concepts: Mapping[str, Concept]) -> list[Complaint]:
    """Complain about the number and level of a notebook's questions, and about right choices told by their length."""
    return [
        *_count(len(quiz.questions), QUESTIONS, "questions", file),
        *_levels(quiz.questions, "questions", file),
        *_too_early(quiz.questions, quiz.notebook, file, concepts),
        *_longest(quiz.questions, file),
    ]


def check_stored(page: Page, deck: Deck | None, quiz: Quiz | None) -> list[Complaint]:
    """Note cards and questions stored in a notebook, for readers without a kernel, that are not those of the files."""
    now = {"cards": deck_html(deck) if deck else "", "questions": quiz_html(quiz) if quiz else ""}
    cure = f"Run it again: course run {page.number} --store."
    return [
        page.complaint(f"the {name} stored here are not those of their file", cure, cell=cell, level="note")
        for cell in page.code
        for output in cell.outputs
        for name, html in now.items()
        if html and html[: html.index("<ol>")] in (shown := joined(output.get("data", {}).get("text/html")))
        if shown != html
    ]


def right_is_longest(question: SingleQuestion | OutputQuestion) -> bool:
    """Tell whether the right choice is longer than every wrong one."""
    right = max(len(choice.text) for choice in question.choices if choice.right)
    return right > max((len(choice.text) for choice in question.choices if not choice.right), default=right)


def _count(count: int, limits: tuple[int, int], name: str, file: str) -> Iterator[Complaint]:
    if not limits[0] <= count <= limits[1]:
        what = f"{count} {name}; a notebook has {limits[0]} to {limits[1]}"
        yield Complaint(file, what, "Write more." if count < limits[0] else "Keep the best, retire the rest.")


def _levels(items: Sequence[Card | Question], name: str, file: str) -> Iterator[Complaint]:
    above = sum(item.level != "recall" for item in items)
    if above < ABOVE_RECALL * len(items):
        what = f"{above} of {len(items)} {name} are above recall; at least a third should be"
        yield Complaint(file, what, "Ask to apply, predict, debug or compute.")


def _too_early(
    items: Sequence[Card | Question], notebook: str, file: str, concepts: Mapping[str, Concept]
) -> Iterator[Complaint]:
    for item in items:
        for concept in (concepts[name] for name in item.concepts if name in concepts):
            if concept.home > notebook:
                what = f"{item.id} is about {concept.id!r}, which notebook {concept.home} teaches"
                yield Complaint(file, what, "Move it there, or tie it to what is known by now.")


def _longest(questions: Sequence[Question], file: str) -> Iterator[Complaint]:
    single = [question for question in questions if isinstance(question, SingleQuestion | OutputQuestion)]
    longest = [question.id for question in single if right_is_longest(question)]
    if len(longest) > max(1, int(MAX_LONGEST * len(single))):
        what = f"the right choice is the longest in {len(longest)} of {len(single)} questions: {', '.join(longest)}"
        yield Complaint(file, what, "Shorten it, or write the wrong ones out as fully.")
