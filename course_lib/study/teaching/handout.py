"""A copy of the course to hand out to a class: the same notebooks and questions, without the answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from course_lib.content import course_root, notebook_paths
from course_lib.study.copies.notebook_cells import Cell, render_notebook
from course_lib.study.material.deck import all_decks, all_quizzes, load_plan
from course_lib.study.material.grading import shuffled_choices, shuffled_items
from course_lib.study.material.schema import NumericQuestion, OrderingQuestion, OutputQuestion, Question
from course_lib.study.teaching.sections import read_notebook

# A cell that calls one of these shows questions with their answers, or an answer.
_ANSWERING = re.compile(r"^\s*(?:\w+\s*=\s*)?(?:quiz|cards|solution|hint)\(", re.MULTILINE)
_FOLDED_ANSWER = re.compile(
    r"<details>\s*<summary>[^<]*(?:answer|solution)[^<]*</summary>.*?</details>\n?", re.IGNORECASE | re.DOTALL
)

README = """# {title}

A handout without answers: {count} notebooks, their questions, the fronts of their cards, and the exercises' stubs.

- `notebooks/`: the text, code and figures. What `quiz(...)`, `cards(...)` and `solution(...)` had shown is left out.
- `quizzes/`: the questions, choices in the order in which the course shows them.
- `flashcards/`: the fronts.
- `exercises/`: what is to be written.

The full course, with the answers, is what this was made from.
"""


def write_handout(folder: Path, root: Path | None = None) -> list[str]:
    """Write an answer-free copy of the course.

    Args:
        folder: Where to; must not exist, or be empty.
        root: The course folder; found by ``course_root`` if left out.

    Returns:
        The files written, relative to ``folder``.

    Raises:
        ValueError: If ``folder`` holds something already.
        ContentError: If the course's files have problems.
    """
    root = root or course_root()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} holds something already: name a new or an empty folder.")
    written: list[str] = []

    def write(name: str, content: str | bytes) -> None:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        written.append(name)

    notebooks = notebook_paths(root)
    for path in notebooks.values():
        notebook = read_notebook(path)
        notebook["cells"] = [without_answers(cell) for cell in notebook["cells"]]
        write(f"notebooks/{path.name}", render_notebook(notebook))
    stems = {planned.number: f"{planned.number}_{planned.slug}" for planned in load_plan(root).notebooks}
    for number, quiz in all_quizzes(root).items():
        questions = [_open_question(question) for question in quiz.questions]
        write(f"quizzes/{stems[number]}.yaml", _yaml({"notebook": number, "questions": questions}))
    for number, deck in all_decks(root).items():
        fronts = [{"id": card.id, "level": card.level, "front": card.front} for card in deck.cards]
        write(f"flashcards/{stems[number]}.yaml", _yaml({"notebook": number, "cards": fronts}))
    _write_stubs(root, write)
    write("README.md", README.format(title="How AI models are trained", count=len(notebooks)))
    return written


def without_answers(cell: Cell) -> Cell:
    """Return a cell without what quizzes, cards, hints and solutions showed, and without answers folded in prose."""
    if cell["cell_type"] == "code" and _ANSWERING.search(cell["source"]):
        return cell | {"outputs": []}
    if cell["cell_type"] == "markdown":
        return cell | {"source": _FOLDED_ANSWER.sub("", cell["source"])}
    return cell


def _open_question(question: Question) -> dict[str, Any]:
    """Return what is asked, and nothing of what is right."""
    asked: dict[str, Any] = {"id": question.id, "kind": question.kind, "level": question.level}
    asked["prompt"] = question.prompt
    if isinstance(question, NumericQuestion):
        return asked | ({"unit": question.unit} if question.unit else {})
    if isinstance(question, OrderingQuestion):
        return asked | {"items": shuffled_items(question)}
    if isinstance(question, OutputQuestion):
        asked["code"] = question.code
    return asked | {"choices": {letter: choice.text for letter, choice in shuffled_choices(question).items()}}


def _write_stubs(root: Path, write: Callable[[str, str], None]) -> None:
    from course_lib.study.exercises import load_exercises, stub_of

    for path in sorted((root / "exercises").glob("[0-9][0-9]_*.py")):
        stubs = [
            f"# Exercise {exercise.id}: {exercise.title} (difficulty {exercise.difficulty} of 5, "
            f"about {exercise.minutes} minutes)\n{stub_of(exercise)}\n"
            for exercise in load_exercises(path)
        ]
        write(f"exercises/{path.name}", "\n\n".join(stubs))


def _yaml(content: dict[str, Any]) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
