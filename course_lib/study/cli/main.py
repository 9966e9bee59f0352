"""The ``course`` command: its verbs, and what a mistake looks like. Each verb imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from course_lib.study.cli import author, course, listen, study, teach

_STUDY, _COURSE, _TEACH, _WRITE = "Study", "Your notebooks", "Teach with it", "Write the course"


class _Course(TyperGroup):
    """Turns a user's mistake into one line and exit code 2; ``COURSE_DEBUG=1`` shows where it came from."""

    def invoke(self, ctx: Any) -> Any:
        _make_output_safe()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of a pipe has gone; typer ends quietly
        except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
            if not _is_mistake(error) or os.environ.get("COURSE_DEBUG"):
                raise
            print(f"course: {_explained(error)}", file=sys.stderr)
            raise typer.Exit(2) from None


def _is_mistake(error: Exception) -> bool:
    """Tell what a user can mend from a fault of ours; typer's own exceptions are neither."""
    from course_lib.study.memory.progress_file import ProgressError

    kinds = (ValueError, FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, (*kinds, ModuleNotFoundError, ProgressError))


def _explained(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is missing: install the study tools with pip install 'course-lib[learn]'."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print a warning as a sentence to the user, without the line of code that gave it."""
    print(f"course: {message}", file=sys.stderr)


def _make_output_safe() -> None:
    """Let a terminal that lacks a character show ? for it rather than end the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


app = typer.Typer(
    cls=_Course,
    name="course",
    help="How AI models are trained: study the course, and keep it in order.\n\n"
    "Notebooks are named by number or by name: 7, 07 or regularization.",
    epilog="Begin with: course lab. Every day: course review. One verb's help: course review --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)
_EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


def _add(verb: Any, name: str, panel: str, example: str, **settings: Any) -> None:
    app.command(name, rich_help_panel=panel, epilog=f"Example: {example}", **settings)(verb)


_add(study.review, "review", _STUDY, "course review, or: course review 00 --new 5")
_add(study.quiz, "quiz", _STUDY, "course quiz 00, or: course quiz 00 --missed")
_add(study.cards, "cards", _STUDY, "course cards 00")
_add(listen.listen, "listen", _STUDY, "course listen 00, or: course listen 00 --text")
_add(course.find, "find", _STUDY, 'course find "weight decay"')
_add(course.summary, "summary", _STUDY, "course summary, or: course summary 00")
app.add_typer(study.progress_app, name="progress", rich_help_panel=_STUDY)
_add(course.list_notebooks, "list", _COURSE, "course list")
_add(course.lab, "lab", _COURSE, "course lab --no-browser", context_settings=_EXTRA)
_add(course.open_notebook, "open", _COURSE, "course open 00, or: course open '00#baseline'", context_settings=_EXTRA)
_add(course.run, "run", _COURSE, "course run 00")
_add(course.update, "update", _COURSE, "course update")
_add(course.diff, "diff", _COURSE, "course diff 00")
_add(course.reset, "reset", _COURSE, "course reset 00")
_add(author.doctor, "doctor", _COURSE, "course doctor")
_add(teach.checklist, "checklist", _TEACH, "course checklist fine-tune")
_add(teach.syllabus, "syllabus", _TEACH, "course syllabus vision --markdown > vision.md")
_add(teach.handout, "handout", _TEACH, "course handout ~/class")
app.add_typer(study.export_app, name="export", rich_help_panel=_TEACH)
_add(author.check, "check", _WRITE, "course check")
_add(author.site, "site", _WRITE, "course site, or for a quick look: course site 00 05")
app.add_typer(author.results_app, name="results", rich_help_panel=_WRITE)
_add(author.map_notebooks, "map", _WRITE, "course map --write")


def main() -> None:
    """Run the ``course`` command. Exit codes: 0 fine, 1 findings or a failure, 2 a user's mistake."""
    app(prog_name="course")


if __name__ == "__main__":
    main()
