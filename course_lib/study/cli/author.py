"""The verbs that keep the course and the machine in order: doctor, check, results, map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from course_lib.study.cli.shared import NotebookName, number_of


def doctor() -> None:
    """Look this machine over: what is there, what is missing, and the cure."""
    from course_lib.study.doctor import report

    raise typer.Exit(report())


def check() -> None:
    """Check the course itself: notebooks, cards, questions, concepts, links, generated pages."""
    from course_lib.content import course_root
    from course_lib.study.checks import run_checks

    complaints = run_checks(course_root())
    for complaint in complaints:
        print(f"{complaint.level}: {complaint}")
    errors = sum(complaint.level == "error" for complaint in complaints)
    print(f"{errors} to mend, {len(complaints) - errors} worth knowing." if complaints else "No complaint.")
    raise typer.Exit(1 if errors else 0)


results_app = typer.Typer(
    help="Write RESULTS.md from the stored results; run a notebook's experiments again.",
    epilog="Examples: course results, course results run 00",
    invoke_without_command=True,
)


@results_app.callback()
def results(context: typer.Context) -> None:
    """Write RESULTS.md from the stored results; run a notebook's experiments again."""
    if context.invoked_subcommand is not None:
        return
    from course_lib.content import course_root
    from course_lib.notebook.results import render_results

    page = course_root() / "RESULTS.md"
    page.write_text(render_results(course_root()), encoding="utf-8")
    print(f"{page} written.")


@results_app.command("run", epilog="Example: course results run 00")
def run_results_command(notebook: NotebookName) -> None:
    """Run the experiments behind a notebook's claims again, over all seeds; this takes minutes."""
    from course_lib.content import course_root
    from course_lib.notebook.results import run_results

    raise typer.Exit(1 if run_results(course_root(), number_of(notebook)) else 0)


def map_notebooks(
    write: Annotated[bool, typer.Option("--write", help="Write it into README.md.")] = False,
) -> None:
    """Print the map of the course, as it stands in the README."""
    from course_lib.study.teaching.course_map import render_map, update_readme

    if write:
        print("README.md written." if update_readme() else "The map in README.md is up to date.")
    else:
        print(render_map(), end="")


def site(
    notebooks: Annotated[list[str] | None, typer.Argument(metavar="[NOTEBOOK]...", help="Only these.")] = None,
    out: Annotated[Path, typer.Option(help="The folder to build in.")] = Path("build/site"),
) -> None:
    """Build the course's website from the stored outputs; nothing is run, and it works offline."""
    from course_lib.content import course_root
    from course_lib.study.site.build import build_site

    built = build_site(course_root(), out.resolve(), only={number_of(name) for name in notebooks or ()})
    for fault in built.broken:
        print(fault)
    print(f"{built.num_pages} pages, {len(built.broken)} broken links. Open {built.index}")
    raise typer.Exit(1 if built.broken else 0)
