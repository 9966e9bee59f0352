"""The verbs one studies with: review, cards, quiz, progress, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from course_lib.study.cli.shared import NotebookName, number_of

_NEW_A_DAY = 20


def review(
    notebook: Annotated[str, typer.Argument(metavar="[NOTEBOOK]", help="Only this notebook's cards.")] = "",
    new: Annotated[int, typer.Option(min=0, help="Cards to see for the first time, a day.")] = _NEW_A_DAY,
) -> None:
    """Review the cards that are due, then some new ones: a few minutes a day."""
    from course_lib.study.material.deck import all_decks, load_deck
    from course_lib.study.memory.progress import Progress
    from course_lib.study.terminal.cards import review_in_terminal
    from course_lib.study.terminal.console import Terminal, new_console

    number = number_of(notebook) if notebook else ""
    decks = {number: load_deck(number)} if number else all_decks()
    if not decks:
        raise ValueError("there are no cards in this course yet.")
    with Progress.open() as progress:
        review_in_terminal(Terminal(new_console()), progress, decks, new_a_day=new)


def cards(notebook: NotebookName) -> None:
    """Leaf through a notebook's cards, all of them, due or not; rating one is up to you."""
    from course_lib.study.material.deck import load_deck, load_plan
    from course_lib.study.memory.progress import Progress
    from course_lib.study.terminal.cards import leaf_through
    from course_lib.study.terminal.console import Terminal, new_console

    number = number_of(notebook)
    deck = load_deck(number)
    title = next(planned.title for planned in load_plan().notebooks if planned.number == number)
    with Progress.open() as progress:
        leaf_through(Terminal(new_console()), progress, deck, f"{number} {title}")


def quiz(
    notebook: NotebookName,
    missed: Annotated[bool, typer.Option("--missed", help="Only what you have not answered rightly yet.")] = False,
) -> None:
    """Take a notebook's quiz; each answer is explained at once."""
    from course_lib.study.material.deck import load_glossary, load_quiz
    from course_lib.study.memory.progress import Progress
    from course_lib.study.terminal.console import Terminal, new_console
    from course_lib.study.terminal.quiz import quiz_in_terminal

    questions = load_quiz(number_of(notebook))
    with Progress.open() as progress:
        quiz_in_terminal(Terminal(new_console()), progress, questions, load_glossary(), missed_only=missed)


progress_app = typer.Typer(
    help="Show how far you are; export and import it.",
    epilog="Examples: course progress, course progress export backup.json, course progress import backup.json",
    invoke_without_command=True,
)


@progress_app.callback()
def show_progress(context: typer.Context) -> None:
    """Show how far you are; export and import it."""
    if context.invoked_subcommand is not None:
        return
    from course_lib.study.memory.progress import Progress
    from course_lib.study.memory.progress_report import print_progress
    from course_lib.study.terminal.console import new_console

    with Progress.open() as progress:
        print_progress(new_console(), progress)


@progress_app.command("export", epilog="Example: course progress export backup.json")
def export_command(
    file: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write all your progress to a JSON file: as a copy, or to take it to another machine."""
    from course_lib.study.memory.progress import Progress
    from course_lib.study.memory.progress_json import export_progress

    with Progress.open() as progress:
        count = export_progress(progress, file, overwrite=force)
    print(f"{count} events written to {file}.")


@progress_app.command("import", epilog="Example: course progress import backup.json")
def import_command(file: Annotated[Path, typer.Argument(help="What `course progress export` wrote.")]) -> None:
    """Merge exported progress into yours. Nothing is lost; importing twice changes nothing."""
    from course_lib.study.memory.progress import Progress
    from course_lib.study.memory.progress_json import import_progress

    with Progress.open() as progress:
        count = import_progress(progress, file)
    print(f"{count} new events imported from {file}.")


export_app = typer.Typer(help="Take the cards elsewhere.", no_args_is_help=True)


@export_app.callback()
def _export() -> None:
    """Take the cards elsewhere."""


@export_app.command("anki", epilog="Example: course export anki deck.apkg")
def export_anki_command(file: Annotated[Path, typer.Argument(help="The .apkg file to write.")]) -> None:
    """Write all cards as an Anki package; importing a newer one later updates the cards and keeps their schedules."""
    from course_lib.study.material.anki_export import export_anki

    print(f"{export_anki(file)} cards written to {file}. In Anki: File, Import.")
