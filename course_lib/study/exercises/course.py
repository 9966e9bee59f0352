"""Exercises as a learner meets them: ``check`` an answer, take a ``hint``, see the ``solution``."""

from __future__ import annotations

import glob
import importlib.util
import inspect
import sys
import textwrap
import warnings
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from course_lib.content import course_root
from course_lib.study.exercises.judging import judge
from course_lib.study.exercises.model import TOLERANCE, Case, Exercise, Property, Verdict
from course_lib.study.exercises.stubs import definition_of

__all__ = [
    "TOLERANCE",
    "Case",
    "Exercise",
    "Property",
    "Verdict",
    "all_exercises",
    "check",
    "find_exercise",
    "hint",
    "load_exercises",
    "solution",
    "stub_of",
]

_hints_shown: dict[str, int] = {}
_warned_about_progress = False


def check(exercise: str | Exercise, attempt: Any, *, seed: int | None = None) -> Verdict:
    """Check an answer, print the verdict and return it.

    Every check draws fresh random inputs, compares with a slow and plain reference in float64, and shows the smallest
    input on which the answer is wrong. Exercises of this course, named by id, are recorded in the learner's progress
    once they are attempted.

    Args:
        exercise: The id of an exercise of this course, such as ``"00.1"``, or an `Exercise` of another one.
        attempt: Your function.
        seed: Fixes the random inputs; meant for tests.

    Returns:
        A verdict: "right", "wrong" with the reason, or "not attempted".

    Raises:
        ValueError: If there is no such exercise, or ``attempt`` is not a function.

    Example:
        >>> twice = Exercise(
        ...     id="1",
        ...     title="Twice",
        ...     difficulty=1,
        ...     minutes=1,
        ...     solution=lambda x: 2 * x,
        ...     cases=lambda rng: (int(rng.integers(1, 10)),),
        ...     oracle=lambda x: x + x,
        ... )
        >>> verdict = check(twice, lambda x: x << 1)
        ✓ 1 right: it passed on 24 fresh random inputs and 0 fixed ones.
        >>> verdict = check(twice, lambda x: x - x, seed=0)
        ✗ 1 wrong, because the result is too small.
          input     x = 8
          expected  16
          got       0
          look at   work this input out by hand and compare each step
    """
    verdict = judge(find_exercise(exercise) if isinstance(exercise, str) else exercise, attempt, seed=seed)
    _print(str(verdict))
    if isinstance(exercise, str) and verdict.status != "not attempted":
        _record(verdict)
    return verdict


def hint(exercise: str | Exercise) -> None:
    """Show one hint more at each call; the first are gentle, the last nearly tells the answer."""
    found = find_exercise(exercise) if isinstance(exercise, str) else exercise
    total = len(found.hints)
    if total == 0:
        _show(f"Exercise {found.id} has no hints.")
        return
    number = min(_hints_shown.get(found.id, 0) + 1, total)
    _hints_shown[found.id] = number
    left = total - number
    rest = f"{left} more to come." if left else "That was the last one; the solution shows one way to write it."
    _show(
        "\n\n".join(
            [f"Hint {number} of {total}: {text}" for number, text in enumerate(found.hints[:number], 1)] + [rest]
        )
    )


def solution(exercise: str | Exercise) -> None:
    """Show the source of a right answer; there are others."""
    found = find_exercise(exercise) if isinstance(exercise, str) else exercise
    source = textwrap.dedent(inspect.getsource(found.solution)).rstrip()
    _show(source, markdown=f"```python\n{source}\n```")


def stub_of(exercise: Exercise) -> str:
    """Return the source of the stub that a notebook gives: signature and docstring of the solution, and no body.

    Raises:
        ValueError: If the solution has no docstring: the stub would not say what to write.
    """
    lines = textwrap.dedent(inspect.getsource(exercise.solution)).splitlines()
    definition = definition_of(exercise.solution)
    if definition is None or not exercise.solution.__doc__:
        raise ValueError(
            f"exercise {exercise.id}: the solution must be a def with a docstring, the stub is made of it."
        )
    return "\n".join([*lines[: definition.body[0].end_lineno], "    ..."])


def find_exercise(exercise_id: str) -> Exercise:
    """Return one exercise of this course.

    Raises:
        ValueError: If there is none of this id; the message lists those of the same notebook.
    """
    exercises = {exercise.id: exercise for exercise in all_exercises(exercise_id.partition(".")[0])}
    if exercise_id in exercises:
        return exercises[exercise_id]
    if exercises:
        raise ValueError(f"there is no exercise {exercise_id!r}; this notebook has: {', '.join(exercises)}.")
    known = sorted({path.name[:2] for path in _files("[0-9][0-9]")})
    raise ValueError(
        f"there is no exercise {exercise_id!r}: an id is notebook.number, such as '00.1', "
        f"and there are exercises for these notebooks: {', '.join(known) or 'none yet'}."
    )


def all_exercises(notebook: str | None = None) -> tuple[Exercise, ...]:
    """Return the exercises of one notebook, or of the whole course, in order.

    Raises:
        ValueError: If a file is not as `load_exercises` expects it.
    """
    files = _files("[0-9][0-9]" if notebook is None else glob.escape(notebook))
    return tuple(chain.from_iterable(map(load_exercises, files)))


@cache
def load_exercises(path: Path) -> tuple[Exercise, ...]:
    """Load a notebook's exercises: ``EXERCISES`` of ``exercises/NN_slug.py``.

    Where that file would be long, more stand in the files of the folder ``exercises/NN_slug/``, each with
    ``EXERCISES`` of its own. They come in the order of their ids.

    Raises:
        ValueError: If a file defines no ``EXERCISES``, an id is used twice, or one belongs to another notebook.
    """
    exercises = [exercise for part in (path, *sorted(path.with_suffix("").glob("*.py"))) for exercise in _load(part)]
    ids, prefix = [exercise.id for exercise in exercises], f"{path.name[:2]}."
    if len(set(ids)) < len(ids) or any(not exercise_id.startswith(prefix) for exercise_id in ids):
        raise ValueError(f"the ids of the exercises in {path.name} must differ and start with {prefix!r}, got {ids}.")
    return tuple(sorted(exercises, key=lambda exercise: exercise.id))


def _load(path: Path) -> tuple[Exercise, ...]:
    name = f"course_exercises_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; exercises are Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and inspect look for it
    spec.loader.exec_module(module)
    exercises: tuple[Exercise, ...] = tuple(getattr(module, "EXERCISES", ()))
    if not exercises:
        raise ValueError(f"{path.name} must define EXERCISES, a tuple of at least one Exercise.")
    return exercises


def _files(notebook: str) -> list[Path]:
    return sorted((course_root() / "exercises").glob(f"{notebook}_*.py"))


def _record(verdict: Verdict) -> None:
    """Keep the verdict in the learner's progress. An answer is judged all the same when that fails."""
    global _warned_about_progress
    try:
        from course_lib.study.memory.progress import Progress

        with Progress.open() as progress:
            progress.record_exercise(verdict.exercise_id, verdict.status == "right")
    except Exception as error:
        if not _warned_about_progress:
            _warned_about_progress = True
            warnings.warn(f"your answer was checked, but progress could not be recorded: {error}", stacklevel=3)


def _print(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # a terminal without the symbol still shows the words


def _show(text: str, *, markdown: str | None = None) -> None:
    """Display Markdown where IPython runs, print text elsewhere."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import display

        display({"text/markdown": markdown or text, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]
    else:
        _print(text)
