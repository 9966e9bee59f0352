"""Where the course's files are: notebooks, cards, quizzes, exercises and results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_MARKER = Path("flashcards") / "concepts.yaml"  # only a course folder has it


def course_root() -> Path:
    """Return the folder that holds ``notebooks/``, ``flashcards/``, ``quizzes/``, ``exercises/`` and ``results/``.

    Looked for in this order: the environment variable ``COURSE_ROOT``; the checkout around the
    current folder; the copy inside the installed wheel; the checkout the package is imported from.

    Raises:
        FileNotFoundError: If ``COURSE_ROOT`` names a folder without a course, or none is found.
    """
    named = os.environ.get("COURSE_ROOT")
    if named:
        root = Path(named).expanduser().resolve()
        if not (root / _MARKER).is_file():
            raise FileNotFoundError(
                f"COURSE_ROOT is {root}, which holds no {_MARKER.as_posix()}: "
                "point it at the folder that holds notebooks/, or unset it."
            )
        return root
    for candidate in _candidates():
        if (candidate / _MARKER).is_file():
            return candidate
    raise FileNotFoundError(
        "no course found around this folder: go into the cloned repository, or set COURSE_ROOT to it."
    )


def _candidates() -> Iterator[Path]:
    here = Path.cwd().resolve()
    yield from (here, *here.parents)
    package = Path(__file__).resolve().parent
    yield package / "_course"
    yield package.parent


def notebook_paths(root: Path | None = None) -> dict[str, Path]:
    """Return the written notebooks, ``{"00": .../notebooks/00_start_here.ipynb, ...}``, in order of their numbers."""
    folder = (root or course_root()) / "notebooks"
    return {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}


def content_path(folder: str, notebook: str, suffix: str, root: Path | None = None) -> Path:
    """Return one notebook's file: ``content_path("quizzes", "07", ".yaml")`` is ``quizzes/07_regularization.yaml``.

    Raises:
        FileNotFoundError: If there is none; the message lists the numbers that exist.
    """
    base = (root or course_root()) / folder
    found = sorted(base.glob(f"{notebook}_*{suffix}"))
    if not found:
        known = ", ".join(sorted(path.name[:2] for path in base.glob(f"[0-9][0-9]_*{suffix}"))) or "none yet"
        raise FileNotFoundError(f"{folder}/ has nothing for notebook {notebook!r}; it has: {known}.")
    return found[0]
