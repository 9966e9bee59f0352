"""Small pieces that the quiz and the card widgets share: the style sheet, boxes of feedback, showing and hiding."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipywidgets import DOMWidget


# While a button has the focus, JupyterLab takes typed letters as its own commands: "b" adds a cell, "x" cuts one. A
# learner may type the letter of a choice, so plain keys stay inside the panel; ipywidgets cannot do that from Python.
# When a page is loaded again, the picture is made before it is put into its panel: hence the wait.
_KEEP_KEYS = (
    """<img src="data:," alt="" onerror="(function keep(image) { const panel = image.closest('.course-study'); """
    """if (!panel) return setTimeout(keep, 100, image); panel.addEventListener('keydown', event => { """
    """if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation(); }) })(this)">"""
)


@cache
def page_setup() -> str:
    """Return what a panel needs once in the page: the style sheet, and keys that stay inside the panel."""
    style = (files("course_lib.study.widgets") / "widgets.css").read_text(encoding="utf-8")
    return f"<style>{style}</style>{_KEEP_KEYS}"


def told(html: str, *, good: bool | None = None) -> str:
    """Return a box of feedback that screen readers announce: right, wrong, or neither."""
    look = {True: " course-is-good", False: " course-is-bad", None: ""}[good]
    return f'<div class="course-told{look}" role="status">{html}</div>'


def warned(text: str) -> str:
    """Return a warning as one line, or nothing."""
    return f'<p class="course-warning">{escape(" ".join(text.split()))}</p>' if text else ""


def shown(widget: DOMWidget, visible: bool) -> None:
    """Show a widget, or take it off the screen and out of the way of the keyboard."""
    widget.layout.display = None if visible else "none"
