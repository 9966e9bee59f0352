"""The scripts to listen to: each belongs to a notebook, is short enough, and holds nothing a voice cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from course_lib.content import notebook_paths
from course_lib.study.checks.complaint import Complaint
from course_lib.study.listening.episodes import faults, parse_episode


def check_episodes(root: Path) -> Iterator[Complaint]:
    """Complain about scripts in ``episodes/`` that belong to no notebook, or that cannot be heard well."""
    stems = {path.stem for path in notebook_paths(root).values()}
    for path in sorted((root / "episodes").glob("*.md")):
        where = f"episodes/{path.name}"
        if path.stem not in stems:
            yield Complaint(where, "it belongs to no notebook", "Name it as the notebook is named, or remove it.")
        try:
            found = faults(parse_episode(path.read_text(encoding="utf-8")))
        except ValueError as error:
            found = [str(error)]
        for fault in found:
            yield Complaint(where, fault, "Write it as you would say it.")
