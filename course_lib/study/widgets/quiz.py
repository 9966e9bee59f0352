"""The quiz widget: one question at a time, choices as buttons, the verdict and its reasons at once."""

from __future__ import annotations

import math
import time
from html import escape
from typing import Any

import ipywidgets as w

from course_lib.study.material.grading import Verdict, grade, right_answer
from course_lib.study.material.markup import to_html
from course_lib.study.material.schema import (
    Glossary,
    MultipleQuestion,
    NumericQuestion,
    OrderingQuestion,
    Question,
    Quiz,
)
from course_lib.study.material.static import lettered_html, prompt_html
from course_lib.study.widgets.record import Recorder
from course_lib.study.widgets.style import page_setup, shown, told, warned

ENTER_SECONDS = 5.0  # a text that comes later than this after the Enter key was sent by leaving the field


class QuizPanel:
    """The widgets of one quiz, in ``box``; made once and refilled for each question, so that keyboard focus stays.

    Args:
        quiz: The questions.
        glossary: Names the concepts to look at again.
        recorder: Where answers go.
    """

    def __init__(self, quiz: Quiz, glossary: Glossary, recorder: Recorder) -> None:
        self._quiz, self._glossary, self._recorder = quiz, glossary, recorder
        known = recorder.answered()
        self._results = {question.id: known[question.id] for question in quiz.questions if question.id in known}
        self._index = 0
        self._chosen: list[str] = []
        self._verdict: Verdict | None = None
        self._entered_at = -math.inf

        self.head, self.prompt, self.feedback = w.HTML(), w.HTMLMath(), w.HTMLMath()
        num_rows = max(len(lettered_html(question)) for question in quiz.questions)
        self.letters = [w.Button() for _ in range(num_rows)]
        self._texts = [w.HTMLMath() for _ in range(num_rows)]
        self.rows = [w.HBox(list(pair)) for pair in zip(self.letters, self._texts, strict=True)]
        for position, (letter, row) in enumerate(zip(self.letters, self.rows, strict=True)):
            letter.add_class("course-letter")
            row.add_class("course-row")
            letter.on_click(lambda _, position=position: self._choose(position))
        self.number = w.Text(placeholder="number, then Enter", continuous_update=False)
        self.number.on_msg(self._on_number_message)
        self.number.observe(self._on_number, names="value")
        self.main = w.Button(button_style="primary")
        self.again = w.Button(description="Try again")
        self.previous = w.Button(description="Previous")
        self.skip = w.Button(description="Skip")
        self.main.on_click(lambda _: self._check() if self._verdict is None else self._go(self._next()))
        self.again.on_click(lambda _: self._go(self._index))
        self.previous.on_click(lambda _: self._go((self._index - 1) % len(quiz.questions)))
        self.skip.on_click(lambda _: self._go(self._next()))
        actions = w.HBox([self.main, self.again, self.skip, self.previous])
        actions.add_class("course-actions")
        setup = w.HTML(page_setup(), layout=w.Layout(display="none"))
        self.box = w.VBox([setup, self.head, self.prompt, *self.rows, self.number, actions, self.feedback])
        self.box.add_class("course-study")
        self._index = len(quiz.questions) - 1  # so that the search for what is left begins at the first
        self._fill(self._next())
        self.feedback.value = warned(recorder.warning)

    @property
    def question(self) -> Question:
        """The question on screen."""
        return self._quiz.questions[self._index]

    def _next(self) -> int:
        """Return the next question that was not answered rightly, going round; the first if there is none."""
        count = len(self._quiz.questions)
        following = [(self._index + offset) % count for offset in range(1, count + 1)]
        return next((i for i in following if not self._results.get(self._quiz.questions[i].id)), 0)

    def _go(self, index: int) -> None:
        self._fill(index)
        (self.number if isinstance(self.question, NumericQuestion) else self.letters[0]).focus()

    def _fill(self, index: int) -> None:
        self._index, self._chosen, self._verdict, self._entered_at = index, [], None, -math.inf
        texts = lettered_html(self.question)
        self.prompt.value = prompt_html(self.question)
        for row, text, html in zip(self.rows, self._texts, [*texts.values(), *[None] * len(self.rows)], strict=False):
            shown(row, html is not None)
            text.value = html or ""
        shown(self.number, isinstance(self.question, NumericQuestion))
        self.number.value = ""
        self.feedback.value = ""
        self._refresh()

    def _choose(self, position: int) -> None:
        letter = list(lettered_html(self.question))[position]
        if letter in self._chosen:
            self._chosen.remove(letter)
        elif isinstance(self.question, MultipleQuestion | OrderingQuestion):
            self._chosen.append(letter)
        else:
            self._chosen = [letter]
        self._refresh()

    def _on_number_message(self, _: w.Widget, content: dict[str, str], buffers: list[bytes]) -> None:
        if content.get("event") == "submit":  # the Enter key; the text itself comes in the message after this one
            self._entered_at = time.monotonic()

    def _on_number(self, _: Any) -> None:
        if self._verdict is None and self.number.value and time.monotonic() - self._entered_at < ENTER_SECONDS:
            self._check()

    def _check(self) -> None:
        numeric = isinstance(self.question, NumericQuestion)
        answer = self.number.value.strip() if numeric else " ".join(self._chosen)
        if not answer:
            self.feedback.value = told("Type a number first." if numeric else "Choose an answer first.")
            return
        try:
            self._verdict = grade(self.question, answer)
        except ValueError as error:
            self.feedback.value = told(escape(f"Not counted: {error}"))
            return
        self._recorder.answer(self.question.id, self._verdict.right, answer)
        self._results[self.question.id] = self._verdict.right
        self.feedback.value = (
            told(to_html(self._verdict.feedback), good=self._verdict.right)
            + warned(self._recorder.warning)
            + self._summary()
        )
        self._refresh()
        if numeric:
            self.main.focus()

    def _summary(self) -> str:
        """Return where the learner stands once every question has been answered, and what to look at again."""
        if len(self._results) < len(self._quiz.questions):
            return ""
        names = self._glossary.by_id()
        missed = [question for question in self._quiz.questions if not self._results[question.id]]
        concepts = dict.fromkeys(concept for question in missed for concept in question.concepts)
        look = ", ".join(f"{names[concept].name} (notebook {names[concept].home})" for concept in concepts)
        count = len(self._quiz.questions)
        text = f"All {count} answered, {count - len(missed)} right." + (f" Look again at: {look}." if look else "")
        return told(f"<b>{escape(text)}</b>")

    def _refresh(self) -> None:
        done = self._verdict is not None
        self.head.value = self._head_html()
        right = right_answer(self.question).split()
        for letter, button, row in zip(lettered_html(self.question), self.letters, self.rows, strict=False):
            button.description = f"{self._mark(letter, right if done else None)} {letter}"
            button.disabled = done
            _look(row, self._class(letter, right if done else None))
        self.number.disabled = done
        all_right = done and all(self._results.get(question.id) for question in self._quiz.questions)
        self.main.description = "Check" if not done else "Start again" if all_right else "Next question"
        shown(self.again, done)
        shown(self.skip, not done)

    def _mark(self, letter: str, right: list[str] | None) -> str:
        if isinstance(self.question, OrderingQuestion):
            return f"{self._chosen.index(letter) + 1}." if letter in self._chosen else "\N{MIDDLE DOT}"
        if right is not None:
            return (
                "\N{CHECK MARK}" if letter in right else "\N{BALLOT X}" if letter in self._chosen else "\N{MIDDLE DOT}"
            )
        square = isinstance(self.question, MultipleQuestion)
        if letter in self._chosen:
            return "\N{BALLOT BOX WITH CHECK}" if square else "\N{BLACK CIRCLE}"
        return "\N{BALLOT BOX}" if square else "\N{WHITE CIRCLE}"

    def _class(self, letter: str, right: list[str] | None) -> str:
        if right is None:
            return "course-chosen" if letter in self._chosen else ""
        if isinstance(self.question, OrderingQuestion):
            return "course-right" if self._chosen.index(letter) == right.index(letter) else "course-wrong"
        return "course-right" if letter in right else "course-wrong" if letter in self._chosen else ""

    def _head_html(self) -> str:
        marks = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}", None: "\N{WHITE CIRCLE}"}
        row = "".join(
            f'<span class="{"course-here" if i == self._index else ""}">{marks[self._results.get(question.id)]}</span>'
            for i, question in enumerate(self._quiz.questions)
        )
        place = f"question {self._index + 1} of {len(self._quiz.questions)}"
        right = sum(self._results.values())
        said = f"{right} right, {len(self._results) - right} wrong"
        title = f"<b>Quiz {self._quiz.notebook}</b> &middot; {place} &middot; {self.question.level}"
        return (
            f'<div class="course-head"><span>{title}</span><span class="course-marks" title="{said}">{row}</span></div>'
        )


def _look(row: Any, name: str) -> None:
    for other in ("course-chosen", "course-right", "course-wrong"):
        row.remove_class(other)
    if name:
        row.add_class(name)
