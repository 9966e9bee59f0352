"""The files behind the learners' copies: what each came from, what each was before, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path

from course_lib.study.copies.notebook_cells import Notebook, cell_text, parse_notebook

_POINTER = "course_copy"  # notebook metadata: {"base": version of the course's notebook}


def version_of(content: bytes) -> str:
    r"""Name a version of a course's notebook by its content, whichever line ends the checkout has.

    Example:
        >>> version_of(b"{\r\n}") == version_of(b"{\n}")
        True
    """
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:12]


def base_version(copy: Notebook) -> str | None:
    """Return which version a copy says that it came from; None if it does not say (an editor dropped it)."""
    pointer = copy["metadata"].get(_POINTER)
    version = pointer.get("base") if isinstance(pointer, dict) else None
    return version if isinstance(version, str) else None


def set_base_version(copy: Notebook, version: str) -> None:
    """Write into a copy which version it has everything from."""
    copy["metadata"][_POINTER] = {"base": version}


def has_base(copy: Path, content: bytes) -> bool:
    """Tell whether this version of the course's notebook has been kept for ``copy``."""
    return _base_path(copy, version_of(content)).exists()


def keep_base(copy: Path, content: bytes) -> None:
    """Keep a version of the course's notebook, ``my/.base/NN_slug.VERSION.ipynb``, for merges to come."""
    if not has_base(copy, content):
        write_whole(_base_path(copy, version_of(content)), content)


def find_base(copy: Path, notebook: Notebook) -> Notebook | None:
    """Return the version that a copy came from; where it does not say, the kept one with most cells in common.

    Of versions alike in that, the oldest: merging from a version too old shows too much, from one
    too new it would take the course's changes for undone by the learner.
    """
    named = _base_path(copy, base_version(notebook) or "unknown")
    kept = sorted(named.parent.glob(f"{copy.stem}.*.ipynb"), key=lambda path: path.stat().st_mtime_ns)
    texts = {cell_text(cell) for cell in notebook["cells"]}
    best, most = None, 0
    for path in [named] if named in kept else kept:
        with contextlib.suppress(ValueError):  # a damaged one is as good as none: both versions of a cell are shown
            base = parse_notebook(path.read_bytes())
            shared = len(texts.intersection(map(cell_text, base["cells"])))
            if shared > most or path == named:
                best, most = base, shared
    return best


def keep_old(copy: Path, content: bytes) -> Path:
    """Keep a copy as it was under the next free number, ``my/.old/NN_slug.3.ipynb``, and return where."""
    folder = copy.parent / ".old"
    found = [re.fullmatch(rf"{re.escape(copy.stem)}\.(\d+)\.ipynb", path.name) for path in folder.glob("*.ipynb")]
    path = folder / f"{copy.stem}.{1 + max((int(match[1]) for match in found if match), default=0)}.ipynb"
    write_whole(path, content)
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that, killed at any moment, there is the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writes have left (an hour ago or more: younger ones may still be being written)."""
    for part in (folder, folder / ".base", folder / ".old"):
        for leftover in part.glob(".*.ipynb.*.tmp"):
            if time.time() - leftover.stat().st_mtime > 3600:
                leftover.unlink(missing_ok=True)


def _base_path(copy: Path, version: str) -> Path:
    return copy.parent / ".base" / f"{copy.stem}.{version}.ipynb"
