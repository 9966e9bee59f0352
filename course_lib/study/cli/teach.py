"""The verbs for those who teach with the course, or start a project with it: checklist, syllabus, handout."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from course_lib.study.teaching.syllabus import Entry


def checklist(
    task: Annotated[str, typer.Argument(help="Such as tabular, image-classifier or fine-tune; none lists them.")] = "",
) -> None:
    """Print a checklist for a training project, each item with the notebooks that teach it."""
    from course_lib.study.teaching.checklists import CHECKLISTS
    from course_lib.study.teaching.checklists import checklist as items_of

    if not task:
        print("There are checklists for: " + ", ".join(CHECKLISTS) + ".")
        return
    for stage, items in groupby(items_of(task), key=lambda item: item.stage):
        print(f"\n{stage}")
        for item in items:
            print(f"  [ ] {item.text} ({', '.join(item.notebooks)})")


def syllabus(
    path: Annotated[str, typer.Argument(help="A path through the course; none lists them.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As a Markdown table.")] = False,
) -> None:
    """Print a path through the course in order, with minutes and what each notebook needs."""
    from course_lib.study.material.deck import load_plan
    from course_lib.study.teaching.syllabus import syllabus as entries_of

    if not path:
        for name, numbers in load_plan().paths.items():
            print(f"{name}: {len(numbers)} notebooks, {' '.join(numbers)}")
        return
    entries = entries_of(path)
    if markdown:
        print(_as_markdown(entries))
    else:
        _print_table(entries)
    minutes = sum(entry.reading_minutes or 0 for entry in entries)
    planned = sum(not entry.written for entry in entries)
    still = f"; {planned} more to be written, their minutes not known yet" if planned else ""
    print(f"\n{path}: {len(entries) - planned} written, {minutes} minutes of reading{still}.")


def handout(folder: Annotated[Path, typer.Argument(help="A folder that is new or empty.")]) -> None:
    """Write a copy of the course without answers, to hand out to a class."""
    from course_lib.study.teaching.handout import write_handout

    written = write_handout(folder)
    print(f"{len(written)} files without answers written to {folder}.")


def _minutes(entry: Entry) -> tuple[str, str, str]:
    reading = f"{entry.reading_minutes} min" if entry.reading_minutes is not None else ""
    compute = f"{entry.compute_seconds} s" if entry.compute_seconds is not None else ""
    return reading if entry.written else "planned", compute, " ".join(entry.needs)


def _as_markdown(entries: list[Entry]) -> str:
    rows = [
        f"| {entry.number} | {entry.title} | {entry.outcome} | {' | '.join(_minutes(entry))} |" for entry in entries
    ]
    head = ["| | notebook | you will be able to | reading | compute | needs |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _print_table(entries: list[Entry]) -> None:
    from rich.table import Table

    from course_lib.study.terminal.console import new_console

    table = Table("", "notebook", "reading", "compute", "needs", box=None, padding=(0, 2, 0, 0))
    for entry in entries:
        table.add_row(entry.number, entry.title, *_minutes(entry))
    new_console().print(table)
