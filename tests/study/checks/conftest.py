"""A small course in a temporary folder about which the checks have nothing to say, to be broken one rule at a time."""

import copy
import json
from pathlib import Path

import pytest

from course_lib.notebook.results import code_hash, render_results
from course_lib.study.checks import run_checks
from course_lib.study.running.stored_form import as_stored_text
from course_lib.study.teaching.course_map import BEGIN, END, update_readme

STEM = "01_curves"
ALTERNATIVE = "Test error against degree: it falls to 0.1 at degree 3 and climbs to 0.9 at degree 15."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PLAN = {
    "notebooks": [
        {"number": "00", "slug": "start", "title": "Start", "outcome": "Begin.", "part": "A", "spine": True},
        {"number": "01", "slug": "curves", "title": "Curves", "outcome": "Fit one.", "part": "A", "spine": True},
        {"number": "02", "slug": "later", "title": "Later", "outcome": "Go on.", "part": "B", "spine": False},
    ],
    "parts": {"A": "Foundations", "B": "More"},
    "paths": {"tour": ["00", "01"]},
}
CONCEPTS = [
    {"id": "overfitting", "name": "overfitting", "definition": "It learns noise.", "home": "01", "prerequisites": []},
    {"id": "later-idea", "name": "later idea", "definition": "It comes later.", "home": "02", "prerequisites": []},
]
EXERCISES = '''"""Exercises."""
from course_lib.study.exercises import Exercise


def double(x):
    """Return twice x."""
    return 2 * x


def _wrong(x):
    return x


EXERCISES = tuple(
    Exercise(id=f"01.{k}", title="Double", difficulty=1, minutes=5, solution=double,
             cases=lambda rng: (float(rng.normal()),), oracle=double, hints=("Think.", "Add x to x."),
             wrong={"a": _wrong, "b": _wrong, "c": _wrong})
    for k in (1, 2, 3)
)
'''


def prose(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(source, *outputs):
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": list(outputs), "execution_count": 1}


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def drawn(**data):
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _cells():
    facts = "| | |\n| --- | --- |\n| reading | 40 minutes |\n| compute | 12 s |\n| know first | 00 |"
    yield prose(f"# 01. Curves\n\nYou will fit one.\n\n{facts}")
    yield prose("## Objectives\n\n- Fit.\n- Compare.\n- Explain.")
    yield prose("## The question\n\nWhy so?\n\n**Overfitting** is learning the noise. See [below](#Steps).")
    imports = "import numpy as np\nfrom course_lib.notebook import claim"
    yield code(f'{imports}\nclaim("01.gap", 0.5)', printed("01.gap: 0.5\n"))
    yield prose("**Predict.** What will the curve do?")
    yield code("show()", drawn(**{"image/png": PIXEL, "text/plain": ALTERNATIVE}))
    for step in range(20):
        yield prose("### Steps" if step == 0 else f"Step {step}.")
        yield code(f"print({step})", printed(f"{step}\n"))
    yield prose("## What goes wrong\n\nIt diverges.")
    yield prose("## At scale\n\nAs Kaplan and others (2020) do.")
    yield prose("## Exercises")
    for k in (1, 2, 3):
        yield prose(f"### Exercise 01.{k}: double it (difficulty 1 of 5, about 5 minutes)\n\nWrite it.")
        stub = f'def double(x):\n    """Return twice x."""\n    ...\n\n\ncheck("01.{k}", double)'
        yield code(f'{stub}\n# hint("01.{k}")\n# solution("01.{k}")', printed("not attempted\n"))
    yield prose("## Quiz and cards")
    yield code('from course_lib.study import cards, check, quiz\nquiz("01")\ncards("01")')
    yield prose("## In short\n\n- a\n- b\n- c\n- d\n- e")
    yield prose("## Read next\n\n- Kaplan and others, 2020, Scaling laws: for the figures.")


class Course:
    """The folder, and its one notebook as a dictionary that a test may change before it is written again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        course = {"number": "01", "title": "Curves", "outcome": "Fit one.", "reading_minutes": 40}
        course |= {"compute_seconds": 12, "needs": ["00"]}
        cells = list(_cells())
        self.notebook = {"cells": cells, "metadata": {"course": course}, "nbformat": 4, "nbformat_minor": 5}
        self.deck = {"notebook": "01", "cards": [_card(k) for k in range(14)]}
        self.quiz = {"notebook": "01", "questions": [_question(k) for k in range(10)]}
        self.concepts = copy.deepcopy(CONCEPTS)
        self.exercises = EXERCISES
        self.readme = f"# Course\n\n{BEGIN}\n{END}\n"
        for position, cell in enumerate(cells):
            cell["id"] = f"cell-{position}"
        self.cell("print(0)")["metadata"] = {"tags": ["nbval-check-output"]}
        self.notebook = json.loads(as_stored_text(self.notebook))

    def cell(self, start):
        """The first cell that starts with a text."""
        return next(cell for cell in self.notebook["cells"] if "".join(cell["source"]).startswith(start))

    def write(self):
        for folder in ("notebooks", "flashcards", "quizzes", "exercises", "results"):
            (self.root / folder).mkdir(exist_ok=True)
        declared = 'dependencies = ["numpy>=2.0"]\noptional-dependencies.learn = ["scikit-learn>=1.5"]'
        self.put("pyproject.toml", f"[project]\n{declared}\n")
        # JSON is YAML, and quicker to write.
        self.put("notebooks/plan.yaml", json.dumps(PLAN))
        self.put("flashcards/concepts.yaml", json.dumps(self.concepts))
        self.put(f"flashcards/{STEM}.yaml", json.dumps(self.deck))
        self.put(f"quizzes/{STEM}.yaml", json.dumps(self.quiz))
        self.put(f"exercises/{STEM}.py", self.exercises)
        self.put(f"results/{STEM}.py", "value = 1\n")
        stored = {
            "notebook": "01",
            "command": "python",
            "seeds": [0, 1],
            "claims": {"gap": {"what": "gap", "values": [0.4, 0.6], "band": [0.0, 1.0]}},
            "compute": {"seconds": 1.0, "threads": 1, "machine": "CPU"},
            "versions": {"python": "3.11", "torch": "2"},
            "code": code_hash(self.root / f"results/{STEM}.py", []),
        }
        self.put(f"results/{STEM}.json", json.dumps(stored))
        self.put("RESULTS.md", render_results(self.root))
        self.put_notebook()
        self.put("README.md", self.readme)
        update_readme(self.root)
        return self

    def put(self, name, text):
        (self.root / name).write_text(text, encoding="utf-8")

    def put_notebook(self):
        """Write the notebook as it is, in the stored layout but with nothing cleaned away."""
        text = json.dumps(self.notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        self.put(f"notebooks/{STEM}.ipynb", text)

    def complaints(self):
        return run_checks(self.root)


def _card(k):
    level = "recall" if k < 9 else "apply"
    return {"id": f"01-c-{k}", "front": f"Front {k}?", "back": "Back.", "concepts": ["overfitting"], "level": level}


def _question(k):
    choices = [
        {"text": "Yes", "right": True, "why": "Because."},
        {"text": "Not at all", "right": False, "why": "Since."},
    ]
    question = {"id": f"01-q-{k}", "kind": "single", "prompt": f"Is it {k}?", "concepts": ["overfitting"]}
    return question | {"level": "recall" if k < 6 else "debug", "choices": choices}


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path).write()
