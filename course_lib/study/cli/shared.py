"""What the verbs of the ``course`` command share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NotebookName = Annotated[str, typer.Argument(metavar="NOTEBOOK", help="Number or name: 7, 07 or regularization.")]


def number_of(name: str) -> str:
    """Return the two-digit number of a notebook, written or planned, for ``7``, ``07``, its slug or its file name.

    Raises:
        ValueError: If there is none; names the nearest, or the range of numbers.
    """
    from course_lib.study.material.deck import load_plan

    wanted = Path(name).stem
    wanted = wanted.zfill(2) if wanted.isdecimal() else wanted
    planned = load_plan().notebooks
    for notebook in planned:
        if wanted in (notebook.number, notebook.slug, f"{notebook.number}_{notebook.slug}"):
            return notebook.number
    from difflib import get_close_matches

    near = get_close_matches(wanted, [notebook.slug for notebook in planned], n=1)
    hint = f"did you mean {near[0]}?" if near else f"numbers go from {planned[0].number} to {planned[-1].number}."
    raise ValueError(f"there is no notebook {name!r}: {hint} `course list` shows them all.")


def written_notebook(name: str) -> Path:
    """Return the course's notebook for a name.

    Raises:
        ValueError: If there is no such notebook, or it is not written yet.
    """
    from course_lib.content import notebook_paths

    number, written = number_of(name), notebook_paths()
    if number not in written:
        known = ", ".join(written) or "none"
        raise ValueError(f"notebook {number} is planned, and not written yet. Written so far: {known}.")
    return written[number]
