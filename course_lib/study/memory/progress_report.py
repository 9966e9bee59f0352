"""How far a learner is, as tables: over the whole course, and notebook by notebook."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.content import course_root, notebook_paths
from course_lib.study.material.deck import all_decks, all_quizzes
from course_lib.study.memory.progress import Progress, Summary
from course_lib.study.teaching.syllabus import all_entries

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a learner is in one notebook: how many there are of each, and how many are done."""

    cards: int
    seen: int
    due: int
    questions: int
    right: int
    exercises: int
    passed: int


def standings(summary: Summary, now: datetime, root: Path | None = None) -> dict[str, Standing]:
    """Return the standing in every notebook that has cards, questions or exercises."""
    root = root or course_root()
    cards = {number: [card.id for card in deck.cards] for number, deck in all_decks(root).items()}
    questions = {number: [question.id for question in quiz.questions] for number, quiz in all_quizzes(root).items()}
    exercises = _exercise_ids(root)
    return {
        number: Standing(
            cards=len(cards.get(number, [])),
            seen=sum(card in summary.cards for card in cards.get(number, [])),
            due=sum(card in summary.cards and summary.cards[card] <= now for card in cards.get(number, [])),
            questions=len(questions.get(number, [])),
            right=sum(summary.questions.get(question, False) for question in questions.get(number, [])),
            exercises=len(exercises.get(number, [])),
            passed=sum(summary.exercises.get(exercise, False) for exercise in exercises.get(number, [])),
        )
        for number in sorted({*cards, *questions, *exercises})
    }


def _exercise_ids(root: Path) -> Mapping[str, list[str]]:
    """Return the ids that a notebook checks, read from its text: importing the exercises would import torch."""
    call = re.compile(rb'\bcheck\(\\"([0-9]{2}\.[0-9]+)\\"')
    return {
        number: sorted({found.decode() for found in call.findall(path.read_bytes())})
        for number, path in notebook_paths(root).items()
    }


def print_progress(console: Console, progress: Progress) -> None:
    """Print what was done in all, and what is due."""
    from rich.table import Table

    summary, now = progress.summary(), datetime.now(UTC)
    found = standings(summary, now)
    total = _sum(found)
    console.print(
        f"{summary.days} day{'s' * (summary.days != 1)} of study, {summary.reviews} card reviews, "
        f"{summary.answers} answers. Kept in {progress.path}",
        markup=False,
        soft_wrap=True,
    )
    table = Table("", "done", "of", box=None, padding=(0, 2, 0, 0))
    table.add_row("cards seen", str(total.seen), str(total.cards))
    table.add_row("questions right", str(total.right), str(total.questions))
    table.add_row("exercises passed", str(total.passed), str(total.exercises))
    console.print(table)
    new = total.cards - total.seen
    console.print(f"{total.due} cards are due and {new} new: course review" if total.due or new else "Nothing is due.")


def print_notebooks(console: Console, progress: Progress) -> None:
    """Print every notebook with its minutes and the learner's standing in it; planned ones in short."""
    from rich.table import Table

    found = standings(progress.summary(), datetime.now(UTC))
    entries = all_entries()
    table = Table("", "notebook", "reading", "due", "cards", "quiz", "exercises", box=None, padding=(0, 2, 0, 0))
    for entry in entries:
        if entry.written:
            mine = found.get(entry.number, Standing(0, 0, 0, 0, 0, 0, 0))
            table.add_row(
                entry.number,
                entry.title,
                f"{entry.reading_minutes} min",
                str(mine.due or ""),
                f"{mine.seen}/{mine.cards}",
                f"{mine.right}/{mine.questions}",
                f"{mine.passed}/{mine.exercises}",
            )
        else:
            table.add_row(entry.number, entry.title, "planned", style="dim")
    console.print(table)


def _sum(found: Mapping[str, Standing]) -> Standing:
    def over(name: str) -> int:
        return sum(getattr(standing, name) for standing in found.values())

    return Standing(*(over(name) for name in Standing.__slots__))
