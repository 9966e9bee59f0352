"""Cards as an Anki package whose notes keep their identity, so that importing a newer one updates them."""

from __future__ import annotations

import hashlib
import tempfile
import time
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.content import course_root
from course_lib.study.material.deck import all_decks, load_plan
from course_lib.study.material.schema import Card

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# Changing any of these makes Anki see other notes, and double everyone's cards: never do.
COURSE = "how-ai-models-are-trained"
MODEL_ID = 1_839_402_617
FIELDS = ("Front", "Back", "Notebook", "Id")

_STYLE = """.card { font-family: sans-serif; font-size: 20px; text-align: left; max-width: 40em; margin: 0 auto; }
pre { overflow-x: auto; padding: 0.5em; border: 1px solid #8888; }
table { border-collapse: collapse; } td, th { border: 1px solid #8888; padding: 0.2em 0.5em; }
.notebook { font-size: 12px; opacity: 0.6; }"""


def export_anki(path: Path, root: Path | None = None, *, written_at: float | None = None) -> int:
    """Write all cards of the course to an Anki package, a subdeck for each notebook.

    Anki recognises a note by an id made from the card's own, so that importing a later export changes the notes that
    are there, and keeps their schedules. It takes over a note only if the export is newer than the note.

    Args:
        path: The file to write, ending in ``.apkg``; it appears whole or not at all.
        root: The course folder; found by ``course_root`` if left out.
        written_at: The time that notes carry, in seconds since 1970; now, if left out.

    Returns:
        The number of cards.

    Raises:
        ValueError: If the name does not end in ``.apkg``, or there are no cards.
        FileNotFoundError: If the folder to write to is not there.
        ContentError: If a deck has problems.
    """
    import genanki

    if path.suffix != ".apkg":
        raise ValueError(f"Anki imports files that end in .apkg, got {path.name}: call it {path.stem}.apkg.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first, or write elsewhere.")
    root = root or course_root()
    titles = {notebook.number: notebook.title for notebook in load_plan(root).notebooks}
    decks = []
    for number, deck in all_decks(root).items():
        name = f"{number} {titles[number]}".replace("::", ":")  # Anki's mark between a deck and its subdeck
        anki_deck = genanki.Deck(_stable_id(f"deck/{number}"), f"How AI models are trained::{name}")
        for card in deck.cards:
            anki_deck.add_note(_note(card, name))
        decks.append(anki_deck)
    if not decks:
        raise ValueError(f"{root} has no cards to export yet.")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / "deck.apkg"
        genanki.Package(decks).write_to_file(str(whole), timestamp=time.time() if written_at is None else written_at)
        whole.replace(path)
    return sum(len(deck.notes) for deck in decks)


def anki_html(markdown: str) -> str:
    r"""Render Markdown as Anki shows it: maths between ``\(`` and ``\)``, or ``\[`` and ``\]``, for its MathJax.

    Example:
        >>> anki_html("so $a < b$ costs `$5`")
        '<p>so \\(a &lt; b\\) costs <code>$5</code></p>'
    """
    return str(_parser().render(markdown)).strip()


def _note(card: Card, notebook: str) -> Any:
    import genanki

    return genanki.Note(
        model=_model(),
        fields=[anki_html(card.front), anki_html(card.back), escape(notebook), card.id],
        guid=genanki.guid_for(COURSE, card.id),
        tags=[*card.concepts, f"level::{card.level}"],
    )


@cache
def _model() -> Any:
    import genanki

    back = '{{FrontSide}}<hr id="answer">{{Back}}<p class="notebook">{{Notebook}} · {{Id}}</p>'
    return genanki.Model(
        MODEL_ID,
        "How AI models are trained",
        fields=[{"name": name} for name in FIELDS],
        templates=[{"name": "Card", "qfmt": "{{Front}}", "afmt": back}],
        css=_STYLE,
    )


def _stable_id(name: str) -> int:
    """Return a number that depends on ``name`` alone, in the range that Anki uses."""
    digest = hashlib.sha256(f"{COURSE}/{name}".encode()).digest()
    return 2**30 + int.from_bytes(digest[:8], "big") % 2**30


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.use(dollarmath_plugin, allow_space=False, double_inline=True)
    rules: dict[str, Any] = parser.renderer.rules  # type: ignore[attr-defined]
    rules["math_inline"] = lambda tokens, index, options, env: rf"\({escape(tokens[index].content)}\)"
    for display in ("math_inline_double", "math_block"):
        rules[display] = lambda tokens, index, options, env: rf"\[{escape(tokens[index].content.strip())}\]"
    return parser
