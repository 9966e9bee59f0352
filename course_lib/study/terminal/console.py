"""What the terminal sessions share: a console, single keys, lines of input, and Markdown with formulas."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Leave(Exception):
    """The learner wants to stop: q, the end of the input, or Ctrl-C. All that was done so far is recorded."""


@dataclass(slots=True)
class Terminal:
    """A learner's terminal. Without a keyboard (a pipe, a file) it reads lines instead of keys."""

    console: Console
    _typed_ahead: list[str] = field(default_factory=list)

    def key(self, prompt: str, allowed: str) -> str:
        """Show ``prompt`` and wait for one of the ``allowed`` characters; Enter counts as a space.

        Raises:
            Leave: For q, the end of the input, or Ctrl-C.
        """
        self.console.print(prompt, end="", style="bold", markup=False)
        pressed = ""
        while pressed not in allowed or not pressed:
            if pressed == "q":
                raise Leave
            pressed = self._pressed()
        self.console.print(pressed.strip())
        return pressed

    def line(self, prompt: str) -> str:
        """Show ``prompt`` and read a line.

        Raises:
            Leave: For a lone q, the end of the input, or Ctrl-C.
        """
        self.console.print(prompt, end="", style="bold", markup=False)
        text = self._read_line()
        if not sys.stdin.isatty():
            self.console.print(text, markup=False)  # as the screen shows what is typed
        if text.lower() in ("q", "quit"):
            raise Leave
        return text

    def markdown(self, text: str) -> None:
        """Print Markdown, its formulas in Unicode."""
        self.console.print(rendered(text))

    def lettered(self, letter: str, content: str | RenderableType) -> None:
        """Print a choice under its letter; a string is Markdown."""
        from rich.table import Table

        row = Table.grid(padding=(0, 1))
        row.add_row(f"  [bold]{letter}[/bold]", rendered(content) if isinstance(content, str) else content)
        self.console.print(row)

    def marked(self, colour: str, text: str) -> None:
        """Print Markdown beside a line of ``colour``."""
        from rich.box import Box
        from rich.panel import Panel

        side = Box("\n".join(["    ", "┃   ", *["┃   "] * 5, "    "]))
        self.console.print(Panel(rendered(text), box=side, border_style=colour, padding=(0, 1)))

    def _pressed(self) -> str:
        if not sys.stdin.isatty():
            return (self._read_line() or " ")[0].lower()
        if not self._typed_ahead:
            self._typed_ahead += _characters(self._wait_for_keys())
        return self._typed_ahead.pop(0)

    def _wait_for_keys(self) -> str:
        import typer

        try:
            return typer.getchar()
        except (EOFError, KeyboardInterrupt):
            raise Leave from None

    def _read_line(self) -> str:
        try:
            text = sys.stdin.readline()
        except KeyboardInterrupt:
            text = ""
        if not text:
            raise Leave
        return text.strip()


def _characters(typed: str) -> list[str]:
    """Split what arrived at once into keys; an arrow or function key comes as one sequence and means nothing here."""
    if typed.startswith("\x1b"):
        return ["\x1b"]
    return [" " if key in "\r\n" else key.lower() for key in typed]


def rendered(text: str) -> RenderableType:
    """Return Markdown as rich shows it, with formulas in Unicode."""
    from rich.markdown import Markdown

    from course_lib.study.terminal.maths import readable

    return Markdown(readable(text))


def new_console(*, stderr: bool = False) -> Console:
    """Return the console that all commands print to; rich honours NO_COLOR, and a pipe gets plain text."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)
