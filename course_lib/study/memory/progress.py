"""What a learner has done: answers, card reviews and exercises, in one SQLite file that several programs may share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal
from uuid import uuid4

from course_lib.study.memory import scheduling
from course_lib.study.memory.progress_file import connect, progress_path
from course_lib.study.memory.scheduling import checked_rating

Kind = Literal["answer", "review", "exercise"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a learner did. Progress is nothing but these; all else follows from them."""

    id: str
    kind: Kind
    subject: str
    result: int
    answer: str | None
    at: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a learner stands.

    ``cards`` says when each card seen so far comes back; ``questions`` whether the last answer to each was right;
    ``exercises`` whether each tried so far was ever passed. ``days`` counts the days on which anything was done.
    """

    cards: dict[str, datetime]
    questions: dict[str, bool]
    exercises: dict[str, bool]
    reviews: int
    answers: int
    days: int


class Progress:
    """A learner's record. Open it, write, close it; other processes may do the same at the same time.

    Each ``record_...`` call is one transaction: when it returns, what it recorded survives whatever happens to
    the process, and before that nothing of it is there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Progress.open(Path(folder) / "progress.db") as progress:
        ...     progress.record_answer("00-q-leak", True, "the test set")
        ...     progress.summary().questions
        {'00-q-leak': True}
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, path: str | Path | None = None) -> Progress:
        """Open the record at ``path``, by default the user's own; ``progress_file.connect`` says what may go wrong."""
        where = progress_path() if path is None else Path(path)
        return cls(connect(where), where)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def record_answer(self, question_id: str, right: bool, answer: str) -> None:
        """Record that a question was answered, rightly or not, and with what."""
        with self._writing():
            self._add([_event("answer", question_id, int(right), answer)])

    def record_exercise(self, exercise_id: str, passed: bool) -> None:
        """Record that an exercise was checked, and whether it passed."""
        with self._writing():
            self._add([_event("exercise", exercise_id, int(passed), None)])

    def record_review(self, card_id: str, rating: int, *, now: datetime | None = None) -> datetime:
        """Record that a card was rated, and schedule its return, both or neither.

        The time is taken inside the transaction: of two programs rating one card, the second builds on the first.

        Args:
            card_id: The card.
            rating: 1 again, 2 hard, 3 good, 4 easy.
            now: When, with a time zone; the current time by default.

        Returns:
            When the card comes back.

        Raises:
            ValueError: If the rating is not one of the four.
        """
        checked_rating(rating)
        with self._writing():
            self._add([_event("review", card_id, rating, None, now)])
            return self._reschedule(card_id)

    def preview(self, card_id: str, now: datetime | None = None) -> dict[int, str]:
        """Return for each rating how long the card would stay away, such as ``{1: "1 min", ...}``."""
        row = self._connection.execute("SELECT state FROM cards WHERE card_id = ?", (card_id,)).fetchone()
        return scheduling.preview(row[0] if row else None, now or datetime.now(UTC))

    def due(self, now: datetime, card_ids: Iterable[str]) -> list[str]:
        """Return those of ``card_ids`` that are to be seen again by ``now``, the longest overdue first."""
        wanted = set(card_ids)
        rows = self._connection.execute("SELECT card_id FROM cards WHERE due <= ? ORDER BY due, card_id", (_text(now),))
        return [card_id for (card_id,) in rows if card_id in wanted]

    def unseen(self, card_ids: Iterable[str]) -> list[str]:
        """Return those of ``card_ids`` that were never reviewed, in their order."""
        seen = {card_id for (card_id,) in self._connection.execute("SELECT card_id FROM cards")}
        return [card_id for card_id in card_ids if card_id not in seen]

    def new_today(self, now: datetime) -> int:
        """Return how many cards were seen for the first time since the local midnight before ``now``."""
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        row = self._connection.execute(
            "SELECT count(*) FROM (SELECT min(at) AS first FROM events WHERE kind = 'review' GROUP BY subject) "
            "WHERE first >= ?",
            (_text(midnight),),
        ).fetchone()
        return int(row[0])

    def summary(self) -> Summary:
        """Return where the learner stands."""
        read = self._connection.execute
        cards = read("SELECT card_id, due FROM cards ORDER BY card_id")
        last = read("SELECT subject, result, max(at) FROM events WHERE kind = 'answer' GROUP BY subject")
        best = read("SELECT subject, max(result) FROM events WHERE kind = 'exercise' GROUP BY subject")
        counts = dict(read("SELECT kind, count(*) FROM events GROUP BY kind"))
        moments = read("SELECT at FROM events")
        return Summary(
            cards={card_id: datetime.fromisoformat(due) for card_id, due in cards},
            questions={subject: bool(result) for subject, result, _ in last},
            exercises={subject: bool(result) for subject, result in best},
            reviews=counts.get("review", 0),
            answers=counts.get("answer", 0),
            days=len({datetime.fromisoformat(at).astimezone().date() for (at,) in moments}),
        )

    def events(self) -> list[Event]:
        """Return all that was ever recorded, in the order of time."""
        rows = self._connection.execute("SELECT id, kind, subject, result, answer, at FROM events ORDER BY at, id")
        return [Event(*row) for row in rows]

    def merge(self, events: Sequence[Event]) -> int:
        """Add those of ``events`` that are not here yet, in one transaction; return how many that were.

        Nothing is replaced or removed, so that merging twice changes nothing, and two records merged into each other
        end up the same, schedules included.
        """
        with self._writing():
            before = self._connection.total_changes
            self._add(events)
            added = self._connection.total_changes - before
            for card_id in {event.subject for event in events if event.kind == "review"}:
                self._reschedule(card_id)
        return added

    def _add(self, events: Iterable[Event]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO events (id, kind, subject, result, answer, at) VALUES (?, ?, ?, ?, ?, ?)",
            ((event.id, event.kind, event.subject, event.result, event.answer, event.at) for event in events),
        )

    def _reschedule(self, card_id: str) -> datetime:
        """Bring a card up to date with all its reviews; they are few, and replaying them needs no special case."""
        rows = self._connection.execute(
            "SELECT result, at FROM events WHERE kind = 'review' AND subject = ? ORDER BY at, id", (card_id,)
        )
        state = scheduling.replay((rating, datetime.fromisoformat(at)) for rating, at in rows)
        assert state is not None, card_id
        due = scheduling.due_at(state)
        self._connection.execute(
            "INSERT INTO cards (card_id, due, state) VALUES (?, ?, ?) "
            "ON CONFLICT (card_id) DO UPDATE SET due = excluded.due, state = excluded.state",
            (card_id, _text(due), state),
        )
        return due

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")  # at once, not at the first write: what is read below stays true
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _event(kind: Kind, subject: str, result: int, answer: str | None, at: datetime | None = None) -> Event:
    return Event(uuid4().hex, kind, subject, result, answer, _text(at or datetime.now(UTC)))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
