"""The verbs about notebooks: list, open, lab, run, update, diff, reset, find, summary."""

from __future__ import annotations

from typing import Annotated

import typer

from course_lib.study.cli.shared import NotebookName, number_of, written_notebook

_Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")]


def list_notebooks() -> None:
    """List the notebooks: minutes, and how far you are in each."""
    from course_lib.study.memory.progress import Progress
    from course_lib.study.memory.progress_report import print_notebooks
    from course_lib.study.terminal.console import new_console

    with Progress.open() as progress:
        print_notebooks(new_console(), progress)


def lab(context: typer.Context, browser: _Browser = True) -> None:
    """Open JupyterLab at notebook 00, in your own copies. Other options go to JupyterLab."""
    _open("00", "", browser, context.args)


def open_notebook(
    context: typer.Context,
    notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK[#SECTION]", help="Such as 00, or '00#baseline'.")],
    browser: _Browser = True,
) -> None:
    """Open your copy of a notebook in JupyterLab, at a section if you name one. Other options go to JupyterLab."""
    name, _, section = notebook.partition("#")
    _open(name, section, browser, context.args)


def _open(name: str, section: str, browser: bool, options: list[str]) -> None:
    from course_lib.study import copies
    from course_lib.study.open_lab import open_in_lab
    from course_lib.study.teaching.sections import find_section

    source = written_notebook(name)
    for line in copies.prepare():
        print(line)
    copy = copies.copy_path(source.stem)
    cell_id = ""
    if section:
        try:
            found = find_section(copy, section)
        except ValueError:
            found = find_section(source, section)  # rewritten by the learner, or in the course since
        print(f"Section: {found.heading}")
        cell_id = found.cell_id
    raise typer.Exit(open_in_lab(copy, cell_id=cell_id, browser=browser, options=options))


def run(
    notebook: NotebookName,
    store: Annotated[bool, typer.Option("--store", help="Store the outputs in the notebook (authors).")] = False,
) -> None:
    """Run a notebook of the course from top to bottom, and say how long it took or where it failed."""
    from course_lib.study.running.execute import execute_notebook

    done = execute_notebook(written_notebook(notebook), store=store)
    if done.error is not None:
        print(done.error)
        raise typer.Exit(1)
    stored = ", outputs stored" if done.stored else ""
    print(f"{done.path.name}: {done.seconds:.0f} s, {done.peak_memory_bytes / 2**30:.1f} GiB{stored}.")


def update() -> None:
    """Bring the course's new versions into your copies, losing nothing that you wrote."""
    from course_lib.study import copies

    updates = copies.update()
    for line in [line for entry in updates for line in entry.lines] or ["Your copies are up to date."]:
        print(line)
    if not all(entry.ok for entry in updates):
        raise typer.Exit(1)


def diff(notebook: NotebookName) -> None:
    """Show how your copy of a notebook differs from the course's."""
    from course_lib.study import copies

    print(copies.diff(written_notebook(notebook).stem) or "Your copy is as the course has it.")


def reset(notebook: NotebookName) -> None:
    """Set your copy of a notebook back to the course's version; yours is kept, and you are told where."""
    from course_lib.study import copies

    for line in copies.reset(written_notebook(notebook).stem):
        print(line)


def find(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="A word, or several: all must be there.")],
    every: Annotated[bool, typer.Option("--all", help="Show every place, not only the best ten.")] = False,
) -> None:
    """Find where something is taught: concepts, sections and cards, and the command that takes you there."""
    from rich.padding import Padding

    from course_lib.study.teaching.finding import find as find_places
    from course_lib.study.terminal.console import new_console, rendered

    console = new_console()
    hits = find_places(" ".join(words))
    for hit in hits if every else hits[:10]:
        console.print(hit.where, style="bold", markup=False)
        console.print(Padding(rendered(hit.text), (0, 0, 0, 2)))
        console.print(f"  {hit.command or 'not written yet'}\n", style="cyan", markup=False, soft_wrap=True)
    if len(hits) > 10 and not every:
        console.print(f"{len(hits) - 10} more: course find {' '.join(words)} --all", markup=False)
    if not hits:
        console.print(
            f"Nothing in the course holds {' '.join(words)!r}: try one word, or another form of it.", markup=False
        )
        raise typer.Exit(1)


def summary(
    notebook: Annotated[str, typer.Argument(metavar="[NOTEBOOK]", help="Only this notebook's.")] = "",
) -> None:
    """Print the "In short" box of each notebook: the course on a few pages."""
    from course_lib.study.teaching.syllabus import in_short
    from course_lib.study.terminal.console import new_console, rendered

    console = new_console()
    wanted = number_of(notebook) if notebook else ""
    if wanted:
        written_notebook(wanted)
    for title, text in in_short().items():
        if title.startswith(wanted):
            console.print(f"\n[bold]{title}[/bold]")
            console.print(rendered(text))
