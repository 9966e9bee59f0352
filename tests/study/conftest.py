"""A small course of two written notebooks and a planned one, for the terminal's tools: built anew for each test."""

import json

import pytest
import yaml

PLAN = {
    "parts": {"A": "Foundations"},
    "paths": {"quick-tour": ["00", "02"], "everything": ["00", "01", "02"]},
    "notebooks": [
        {
            "number": "00",
            "slug": "start_here",
            "title": "In one sitting",
            "outcome": "Train.",
            "part": "A",
            "spine": True,
        },
        {"number": "01", "slug": "risk", "title": "Average loss", "outcome": "Fit.", "part": "A", "spine": True},
        {
            "number": "02",
            "slug": "chain_rule",
            "title": "The chain rule",
            "outcome": "Derive.",
            "part": "A",
            "spine": True,
        },
    ],
}
CONCEPTS = [
    {"id": "training", "name": "training", "definition": "Adjusting **parameters** to data.", "home": "00"},
    {"id": "baseline", "name": "baseline", "definition": "The simplest score to beat.", "home": "00"},
    {"id": "risk", "name": "empirical risk", "definition": "The average loss, $R$.", "home": "01"},
    {"id": "chain-rule", "name": "chain rule", "definition": "How slopes multiply.", "home": "02"},
]


def card(number, name, front, back, concept):
    return {"id": f"{number}-c-{name}", "front": front, "back": back, "concepts": [concept], "level": "recall"}


DECKS = {
    "00_start_here": [
        card("00", "training", "What is *training*?", r"Adjusting $\theta$ so that $L(\theta)$ falls.", "training"),
        card("00", "baseline", "What is a baseline?", "The simplest score to beat.", "baseline"),
        card("00", "update", "Write the update.", r"$$\theta \leftarrow \theta - \eta \nabla L$$", "training"),
    ],
    "01_risk": [card("01", "risk", "What is empirical risk?", "The average loss on the data.", "risk")],
}
QUIZZES = {
    "00_start_here": [
        {
            "id": "00-q-leak",
            "kind": "single",
            "level": "debug",
            "prompt": "Accuracy is 99 %. What do you suspect?",
            "concepts": ["baseline"],
            "choices": [
                {"text": "A leak", "right": True, "why": "Too good to be true."},
                {"text": "A better model", "right": False, "why": "Rarely so."},
                {"text": "Luck", "right": False, "why": "Not at this size."},
            ],
        },
        {
            "id": "00-q-parts",
            "kind": "multiple",
            "level": "recall",
            "prompt": "What does an update need?",
            "concepts": ["training"],
            "choices": [
                {"text": "A gradient", "right": True, "why": "The direction."},
                {"text": "A learning rate", "right": True, "why": "The size."},
                {"text": "A test set", "right": False, "why": "Never."},
            ],
        },
        {
            "id": "00-q-print",
            "kind": "output",
            "level": "predict",
            "prompt": "What does this print?",
            "concepts": ["training"],
            "code": "print([w - 0.5 for w in (1, 2)])",
            "choices": [
                {"text": "[0.5, 1.5]", "right": True, "why": "Each minus a half."},
                {"text": "[1, 2]", "right": False, "why": "Something is taken away."},
            ],
        },
        {
            "id": "00-q-step",
            "kind": "numeric",
            "level": "compute",
            "prompt": r"$\eta = 0.1$, slope 2 s: how far is the step?",
            "concepts": ["training"],
            "answer": 0.2,
            "tolerance": 0.001,
            "unit": "s",
            "compute": "answer = 0.1 * 2",
            "explain": "Rate times slope.",
        },
        {
            "id": "00-q-order",
            "kind": "ordering",
            "level": "apply",
            "prompt": "In which order?",
            "concepts": ["training"],
            "items": ["split", "fit", "score"],
            "explain": "Split first.",
        },
    ]
}
ANSWER_PAGE = "<p>Accuracy is 99 %.</p><details><summary>Answer</summary>A leak. Too good to be true.</details>"
EXERCISES = '''"""One exercise."""

from course_lib.study.exercises import Exercise


def mean(values):
    """Return the mean of some numbers."""
    return sum(values) / len(values)


EXERCISES = (
    Exercise(
        id="00.1",
        title="The mean",
        difficulty=1,
        minutes=5,
        solution=mean,
        cases=lambda rng: (list(rng.normal(size=3)),),
        oracle=lambda values: sum(values) / len(values),
        hints=("Add, then divide.",),
    ),
)
'''


def markdown(name, source):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(name, source, *outputs):
    return {
        **{"cell_type": "code", "id": name, "metadata": {}, "source": source},
        **{"execution_count": 1, "outputs": list(outputs)},
    }


def page(html):
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html, "text/plain": "quiz"}}


def notebook(number, title, *cells):
    course = {"number": number, "title": title, "outcome": "Train.", "reading_minutes": 45, "compute_seconds": 12}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"course": course | {"needs": ["00"] if number != "00" else []}},
        "cells": list(cells),
    }


NOTEBOOKS = {
    "00_start_here": notebook(
        "00",
        "In one sitting",
        markdown("title", "# In one sitting\n\nYou train a model."),
        markdown(
            "base",
            "## 2. A *strong* baseline\n\nA **baseline** is the score to beat.\n\n```python\n# no heading\n```",
        ),
        code(
            "fit",
            'check("00.1", mean)\nprint("weight decay")',
            {"output_type": "stream", "name": "stdout", "text": "ok"},
        ),
        markdown("fold", "<details><summary>Solution</summary>The secret.</details>\n\nAfter it."),
        code("quiz", 'quiz("00")', page(ANSWER_PAGE)),
        markdown("short", "## In short\n\n- Split first.\n- Beat a baseline.\n\n## Read next\n\nA paper."),
    ),
    "01_risk": notebook(
        "01",
        "Average loss",
        markdown("title", "# Average loss\n\nThe word baseline again."),
        markdown("short", "## In short\n\nAverage the loss."),
    ),
}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The folder of a small course, found by every tool; progress and learner's copies go beside it."""
    root = tmp_path / "course"
    for folder in ("notebooks", "flashcards", "quizzes", "exercises", "results"):
        (root / folder).mkdir(parents=True)
    write_yaml(root / "notebooks" / "plan.yaml", PLAN)
    write_yaml(root / "flashcards" / "concepts.yaml", CONCEPTS)
    for stem, cards in DECKS.items():
        write_yaml(root / "flashcards" / f"{stem}.yaml", {"notebook": stem[:2], "cards": cards})
    for stem, questions in QUIZZES.items():
        write_yaml(root / "quizzes" / f"{stem}.yaml", {"notebook": stem[:2], "questions": questions})
    for stem, content in NOTEBOOKS.items():
        (root / "notebooks" / f"{stem}.ipynb").write_text(json.dumps(content, indent=1))
    (root / "exercises" / "00_start_here.py").write_text(EXERCISES)
    for name, value in {"COURSE_ROOT": root, "COURSE_HOME": tmp_path / "home", "COURSE_MY": tmp_path / "my"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("COURSE_DEBUG", raising=False)
    return root


def write_yaml(path, content):
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
