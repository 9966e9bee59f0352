"""A notebook's quiz and cards, live in JupyterLab: ``quiz("00")`` and ``cards("00")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.study.material.deck import load_deck, load_glossary, load_quiz
from course_lib.study.material.static import deck_html, deck_text, quiz_html, quiz_text
from course_lib.study.widgets.record import Recorder

if TYPE_CHECKING:
    from ipywidgets import DOMWidget


def quiz(notebook: str) -> None:
    """Show the quiz of a notebook, one question at a time, with feedback at once; answers are kept.

    It begins at the first question that was not answered rightly yet. Where no kernel runs (on a web page, in a
    stored notebook) the same cell shows the questions as text, their answers folded away.

    Args:
        notebook: Its number, such as ``"00"``.

    Raises:
        FileNotFoundError: If the notebook has no quiz; the message lists those that have one.
    """
    from course_lib.study.widgets.quiz import QuizPanel

    loaded, glossary = load_quiz(notebook), load_glossary()
    _display(QuizPanel(loaded, glossary, Recorder()).box, quiz_html(loaded), quiz_text(loaded))


def cards(notebook: str) -> None:
    """Show the cards of a notebook that are due or new, one at a time; ratings are kept and set when a card returns.

    Args:
        notebook: Its number, such as ``"00"``.

    Raises:
        FileNotFoundError: If the notebook has no cards; the message lists those that have some.
    """
    from course_lib.study.widgets.cards import CardsPanel

    loaded = load_deck(notebook)
    _display(CardsPanel(loaded, Recorder()).box, deck_html(loaded), deck_text(loaded))


def _display(widget: DOMWidget, html: str, text: str) -> None:
    """Show the widget together with its static forms, as one output: each reader takes the best that it can show."""
    from IPython.display import display

    view = widget._repr_mimebundle_()
    display(view | {"text/html": html, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]
