"""Answers that can be computed are: numbers by the question's own program, outputs by running the code shown."""

import ast
import contextlib
import io
from pathlib import Path

import pytest

from course_lib.study.material.deck import all_quizzes

ROOT = Path(__file__).parents[2]
QUESTIONS = [question for quiz in all_quizzes(ROOT).values() for question in quiz.questions]


def computed(source):
    """Run a question's program; its answer is the variable ``answer``, or else the value of its last expression."""
    tree, namespace = ast.parse(source), {"__name__": "question"}
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("last", ast.Store())], tree.body[-1].value)
        ast.fix_missing_locations(tree)
    exec(compile(tree, "question", "exec"), namespace)
    return float(namespace["answer"] if "answer" in namespace else namespace["last"])


def printed(source):
    """Run a question's program and return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "question", "exec"), {"__name__": "__main__"})
    return out.getvalue().strip()


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.kind == "numeric"], ids=lambda q: q.id)
def test_a_number_is_what_its_program_computes(question):
    # Rounding the stated answer may use up a tenth of the room that a learner's answer has.
    assert computed(question.compute) == pytest.approx(question.answer, rel=0, abs=max(question.tolerance / 10, 1e-9))


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.kind == "output"], ids=lambda q: q.id)
def test_the_right_choice_is_what_the_code_prints(question):
    (right,) = [choice.text for choice in question.choices if choice.right]
    assert printed(question.code) == right.strip()


def test_both_ways_of_giving_an_answer_are_understood():
    assert computed("x = 2\nx ** 2") == 4.0
    assert computed("answer = 3\nprint(1)") == 3.0
