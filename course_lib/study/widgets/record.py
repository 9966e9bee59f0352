"""What widgets write to a learner's progress: a failure becomes a line of warning, and the quiz goes on."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from course_lib.study.material.schema import Card
from course_lib.study.memory.progress import Progress
from course_lib.study.memory.progress_file import ProgressError
from course_lib.study.memory.review import Session

_Result = TypeVar("_Result")


class Recorder:
    """Progress for widgets; ``warning`` says in one line what the last call could not do, and is empty otherwise.

    Args:
        open_progress: Opens the learner's record; it is opened for each call and closed after it, so that several
            notebooks and terminals can be at it.
    """

    def __init__(self, open_progress: Callable[[], Progress] = Progress.open) -> None:
        self._open = open_progress
        self.warning = ""

    def answer(self, question_id: str, right: bool, answer: str) -> None:
        """Record an answer."""
        self._try(lambda progress: progress.record_answer(question_id, right, answer), None)

    def review(self, card_id: str, rating: int) -> datetime | None:
        """Record the rating of a card and return when the card comes back, or ``None`` if it could not be recorded."""
        return self._try(lambda progress: progress.record_review(card_id, rating), None)

    def answered(self) -> dict[str, bool]:
        """Return the questions answered so far, and whether their last answer was right."""
        return self._try(lambda progress: progress.summary().questions, {})

    def returns(self) -> dict[str, datetime]:
        """Return when each card seen so far comes back."""
        return self._try(lambda progress: progress.summary().cards, {})

    def previews(self, card_id: str) -> dict[int, str]:
        """Return for each rating how long the card would stay away; empty if that is not known."""
        return self._try(lambda progress: dict(progress.preview(card_id)), {})

    def session(self, cards: Sequence[Card]) -> Session:
        """Return the session that these cards call for: those due, then those never seen."""
        by_id = {card.id: card for card in cards}

        def plan(progress: Progress) -> Session:
            due, new = progress.due(datetime.now(UTC), by_id), progress.unseen(by_id)
            return Session([by_id[card_id] for card_id in due], [by_id[card_id] for card_id in new])

        return self._try(plan, Session([], list(cards)))

    def _try(self, action: Callable[[Progress], _Result], otherwise: _Result) -> _Result:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with self._open() as progress:
                    result = action(progress)
                self.warning = ""
            except (ProgressError, OSError, sqlite3.Error) as error:
                result, self.warning = otherwise, f"Not recorded: {error}"
        if caught and not self.warning:
            self.warning = str(caught[-1].message)
        return result
