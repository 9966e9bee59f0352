"""An exercise proves itself: a good one has nothing to complain about, and each flaw of a bad one is named."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.study.exercises import Exercise, Property, load_exercises
from course_lib.study.exercises.mutation import mutation_score, validate_exercise

ROOT = Path(__file__).parents[3]
SAMPLE = load_exercises(Path(__file__).parent / "sample_course" / "exercises" / "05_sample.py")
LOG_SUM_EXP, MERGE, FAIR_ACCURACY = SAMPLE
OURS = [exercise for path in sorted((ROOT / "exercises").glob("[0-9][0-9]_*.py")) for exercise in load_exercises(path)]


@pytest.mark.parametrize("exercise", SAMPLE, ids=lambda exercise: exercise.id)
def test_a_good_exercise_has_no_complaint(exercise):
    assert validate_exercise(exercise) == []


@pytest.mark.parametrize("exercise", OURS, ids=lambda exercise: exercise.id)
def test_the_courses_exercises_have_no_complaint(exercise):
    assert validate_exercise(exercise) == []


def is_no_number(function, case, result):
    return None if np.ndim(result) == 0 else "it is an array"


def test_a_weak_check_lets_mutants_survive_and_says_which():
    weak = replace(FAIR_ACCURACY, oracle=None, properties=(Property("returns a number", is_no_number),))
    score = mutation_score(weak)
    assert score.share < 0.9
    assert "line 3: scores.max -> scores.min" in map(str, score.survivors)
    assert score.killed > 0  # some mutants crash


def count_down(n):
    """Return n, one by one."""
    steps = 0
    while n > 0:
        n = n - 1
        steps = steps + 1
    return steps


ENDLESS = Exercise(
    id="05.9",
    title="Counting down",
    difficulty=1,
    minutes=1,
    solution=count_down,
    cases=lambda rng: (int(rng.integers(0, 9)),),
    oracle=lambda n: n,
)


def test_endless_mutants_count_as_rejected_and_tracing_is_put_back():
    before = sys.gettrace()
    score = mutation_score(ENDLESS)  # n + 1, n - 0, and removing n = n - 1 never end
    assert sys.gettrace() is before
    assert score.killed >= 10
    assert score.survivors == ()


def test_nothing_to_mutate_is_a_full_score():
    assert mutation_score(replace(ENDLESS, solution=identity)).share == 1.0


def identity(n):
    """Return n."""
    return n


def undocumented(n):
    return n


def broken_for_large(n):
    """Return n."""
    return n if n < 8 else 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hints": ("one",)}, "two hints or more, from gentle to nearly told, got 1"),
        ({"tolerance": {"float64": (0.0, 0.0)}}, "its tolerance for float64 is never used: its inputs are float32"),
        ({"wrong": {}}, "expected 3 wrong answers that people really give, got 0"),
        ({"solution": undocumented}, "must be a def with a docstring"),
        ({"solution": broken_for_large}, r"the solution does not pass with seed \d+: ✗ 05.9 wrong, because the result"),
        ({"wrong": {"right": identity}}, r"the wrong answer 'right' is not rejected with the seeds \[0, 1, 2"),
        (
            {"oracle": None, "properties": (Property("returns a number", is_no_number),)},
            r"only \d+% of the solution's mutants are rejected",
        ),
    ],
)
def test_each_flaw_is_named(change, complaint):
    complaints = validate_exercise(replace(ENDLESS, **change))
    assert any(re.search(complaint, text) for text in complaints), complaints
    assert all(text.startswith("exercise 05.9: ") for text in complaints)


def test_a_wrong_answer_that_is_only_rejected_by_luck_is_named():
    lucky = replace(ENDLESS, wrong={"wrong for 8 only": broken_for_large}, num_draws=4)
    assert any("'wrong for 8 only' is not rejected with the seeds" in text for text in validate_exercise(lucky))


def draws_from_torch(n):
    torch.manual_seed(0)
    print("noise")
    return n + 1


def test_validation_keeps_the_global_generator_and_the_terminal_as_they_are(capsys):
    before = torch.get_rng_state()
    validate_exercise(replace(ENDLESS, wrong={"seeds": draws_from_torch}))
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr().out == ""
