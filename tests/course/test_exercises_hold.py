"""Every exercise is proved: its solution passes, known wrong answers and 90 % of small changes to it do not."""

from pathlib import Path

import pytest

from course_lib.study.exercises import load_exercises
from course_lib.study.exercises.mutation import validate_exercise

FOLDER = Path(__file__).parents[2] / "exercises"
EXERCISES = [exercise for path in sorted(FOLDER.glob("[0-9][0-9]_*.py")) for exercise in load_exercises(path)]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_an_exercise_tells_right_from_wrong(exercise):
    assert validate_exercise(exercise) == []
