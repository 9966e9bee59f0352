"""Learners' copies: ``my/NN_slug.ipynb``, made from the course's notebooks, brought up to date, reset and compared.

Each copy carries in its metadata which version of the course's notebook it came from, and that
version is kept in ``my/.base/``. So a copy is replaced in one stroke, an update that is killed
anywhere can be repeated, and an older copy that is put back (by hand, or by JupyterLab saving what
it still has in memory) is merged against the version that it really came from.

Copies are not signed as trusted. JupyterLab shows stored HTML of notebooks it does not trust
through a sanitiser that lets ``<details>`` and all else the course stores pass, and removes
scripts, of which the course has none; running a cell makes its output trusted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from course_lib.content import course_root, notebook_paths
from course_lib.study.copies.copy_store import (
    base_version,
    find_base,
    has_base,
    keep_base,
    keep_old,
    set_base_version,
    sweep,
    version_of,
    write_whole,
)
from course_lib.study.copies.merge import merge_notebooks
from course_lib.study.copies.notebook_cells import Notebook, parse_notebook, render_notebook
from course_lib.study.copies.notebook_diff import diff_notebooks


@dataclass(frozen=True, slots=True)
class Update:
    """What ``update`` did with one copy: ``lines`` to print; not ``ok`` if it had to leave the copy as it was."""

    copy: Path
    ok: bool
    lines: tuple[str, ...]


def my_folder() -> Path:
    """Return the folder of the learner's copies, whether it exists or not.

    ``COURSE_MY`` if set; else ``my/`` in the checkout; for a course that came as a wheel, the
    ``my/`` with copies in or above the current folder, else ``my/`` in the current folder.

    Raises:
        FileNotFoundError: If there is no course.
    """
    named = os.environ.get("COURSE_MY")
    if named:
        return Path(named).expanduser().resolve()
    root = course_root()
    if root != Path(__file__).resolve().parents[2] / "_course":
        return root / "my"
    here = Path.cwd().resolve()
    return next((up / "my" for up in (here, *here.parents) if (up / "my" / ".base").is_dir()), here / "my")


def notebook_path(number: int | str) -> Path:
    """Return the course's notebook for ``7``, ``"07"``, ``"regularization"`` or its file name.

    Raises:
        ValueError: If there is none; the message lists those that exist.
    """
    paths = notebook_paths()
    wanted = Path(str(number)).stem
    wanted = wanted.zfill(2) if wanted.isdecimal() else wanted
    for key, path in paths.items():
        if wanted in (key, path.stem, path.stem[3:]):
            return path
    known = ", ".join(path.stem for path in paths.values()) or "none yet"
    raise ValueError(f"there is no notebook {str(number)!r}. Give the number or name of one of these: {known}.")


def copy_path(number: int | str) -> Path:
    """Return where the learner's copy of a notebook is, or will be once ``prepare`` has made it.

    Raises:
        ValueError: As for ``notebook_path``.
    """
    return my_folder() / notebook_path(number).name


def prepare() -> list[str]:
    """Make the copies that are missing, touching no existing one, and say so; also say what ``update`` would bring.

    Raises:
        ValueError: If a notebook of the course's is damaged.
    """
    folder = my_folder()
    made, newer = [], []
    for source in notebook_paths().values():
        copy = folder / source.name
        if not copy.exists():
            write_whole(copy, _fresh_copy(source, copy))
            made.append(source.stem)
        elif not has_base(copy, source.read_bytes()):
            newer.append(source.stem)
    lines = []
    if made:
        lines.append(f"{_list(made)} copied to {folder}, for you to work in.")
    if newer:
        lines.append(f"{_list(newer)} changed in the course: `course update` brings the changes into your copies.")
    return lines


def update() -> list[Update]:
    """Bring the course's new versions into the copies, losing nothing that the learner wrote.

    A three-way merge, see ``merge_notebooks``. The copy as it was is kept in ``my/.old/`` if it
    differed from the course's. A second call does nothing.

    Returns:
        One entry for each copy that was made, changed, or had to be left as it was.
    """
    folder = my_folder()
    sweep(folder)
    updates = []
    for source in notebook_paths().values():
        copy = folder / source.name
        try:
            lines = _update_copy(source, copy)
        except ValueError as error:
            updates.append(Update(copy, False, (str(error),)))
        except PermissionError as error:
            reason = f"{copy} cannot be replaced ({error.strerror}): close the program that holds it, and update again."
            updates.append(Update(copy, False, (reason,)))
        else:
            updates += [Update(copy, True, tuple(lines))] if lines else []
    return updates


def reset(number: int | str) -> list[str]:
    """Set a copy back to the course's version, keep the learner's in ``my/.old/``, and say where.

    Raises:
        ValueError: As for ``notebook_path``, or if the course's notebook is damaged.
    """
    source = notebook_path(number)
    copy = my_folder() / source.name
    fresh = _fresh_copy(source, copy)
    before = copy.read_bytes() if copy.exists() else fresh
    kept = [f"Your copy as it was: {keep_old(copy, before)}"] if before != fresh else []
    write_whole(copy, fresh)
    return [f"{copy} is as the course has it.", *kept]


def diff(number: int | str) -> str:
    """Return how a copy's text differs from the course's notebook, see ``diff_notebooks``; ``""`` if it does not.

    Raises:
        ValueError: As for ``notebook_path``; or if there is no copy, or it is not a notebook.
    """
    source = notebook_path(number)
    copy = my_folder() / source.name
    if not copy.exists():
        raise ValueError(f"there is no copy of {source.stem} yet (looked for {copy}): `course lab` makes it.")
    return diff_notebooks(_parse_course(source, source.read_bytes()), _parse_copy(copy, copy.read_bytes()))


def _update_copy(source: Path, copy: Path) -> list[str]:
    """Bring one copy up to date; return what there is to say, nothing if it was so already."""
    if not copy.exists():
        write_whole(copy, _fresh_copy(source, copy))
        return [f"{copy.stem}: new, copied to {copy}."]
    before, content = copy.read_bytes(), source.read_bytes()
    ours, theirs, version = _parse_copy(copy, before), _parse_course(source, content), version_of(content)
    base = find_base(copy, ours)
    keep_base(copy, content)
    if base_version(ours) == version:
        return []
    merged = merge_notebooks(base or {"cells": [], "metadata": {}}, ours, theirs)
    set_base_version(merged.notebook, version)
    lines = []
    if merged.notebook["cells"] != ours["cells"]:
        lines.append(f"{copy.stem}: brought up to date.")
        if base is None:
            lines.append("It is not known what your copy came from: where it and the course's differ, it now has both.")
        if base is None or ours["cells"] != base["cells"]:
            lines.append(f"Your copy as it was: {keep_old(copy, before)}")
    if copy.read_bytes() != before:
        raise ValueError(f"{copy} was saved while it was brought up to date, so it was left alone: update again.")
    write_whole(copy, render_notebook(merged.notebook))
    return [*lines, *merged.notes]


def _fresh_copy(source: Path, copy: Path) -> bytes:
    """Return the content of a new copy, once its base is kept."""
    content = source.read_bytes()
    notebook = _parse_course(source, content)
    set_base_version(notebook, version_of(content))
    keep_base(copy, content)
    return render_notebook(notebook)


def _parse_course(source: Path, content: bytes) -> Notebook:
    try:
        return parse_notebook(content)
    except ValueError as error:
        raise ValueError(f"the course's own {source} is damaged: {error}. Fetch it again (git restore).") from error


def _parse_copy(copy: Path, content: bytes) -> Notebook:
    try:
        return parse_notebook(content)
    except ValueError as error:
        raise ValueError(
            f"your copy {copy} cannot be read, so it was left alone: {error}. Mend it in a text editor, or take the "
            f"course's version with `course reset {copy.stem[:2]}`, which keeps yours."
        ) from error


def _list(names: list[str]) -> str:
    listed = f" ({', '.join(names)})" if len(names) <= 5 else ""
    return f"{len(names)} notebook{'s' * (len(names) != 1)}{listed}"
