"""Search the course: concepts, sections of the written notebooks, and cards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_lib.content import course_root, notebook_paths
from course_lib.study.material.deck import all_decks, load_glossary, load_plan
from course_lib.study.material.schema import Concept
from course_lib.study.teaching.sections import Section, sections

# Fenced code, HTML tags, marks of lists, quotes and headings, table rules: structure that an excerpt cuts through.
_MARKUP = re.compile(r"^(```|~~~).*?^\1|</?\w[^>\n]*>|^\s*(?:[-*+>#]+|\d+\.)\s|[|]|:?-{3,}:?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where the words were found; ``command`` takes the learner there, unless it is still to be written."""

    rank: int
    where: str
    text: str
    command: str


def find(text: str, root: Path | None = None) -> list[Hit]:
    """Return the places that hold every word of ``text``, in any case, the best first.

    A concept of that name comes first, then headings, then prose and cards in which the words stand side by side, then
    the rest, each in the order of the course.

    Raises:
        ValueError: If ``text`` holds no word.
        ContentError: If the course's files have problems.
    """
    words = text.casefold().split()
    if not words:
        raise ValueError('there is nothing to look for: give a word or two, such as course find "weight decay".')
    root = root or course_root()
    written = {number: sections(path) for number, path in notebook_paths(root).items()}
    hits = [*_concepts(words, root, written), *_sections(words, root, written), *_cards(words, root)]
    return sorted(hits, key=lambda hit: hit.rank)


def _concepts(words: list[str], root: Path, written: dict[str, list[Section]]) -> Iterator[Hit]:
    titles = {notebook.number: notebook.title for notebook in load_plan(root).notebooks}
    for concept in load_glossary(root).concepts:
        rank = _rank(words, concept.name, concept.definition)
        if rank is not None:
            where = f"concept {concept.name} · taught in {concept.home} {titles[concept.home]}"
            command = _home_command(concept, written)
            yield Hit(0 if rank == 1 else rank, where, concept.definition, command)


def _home_command(concept: Concept, written: dict[str, list[Section]]) -> str:
    if concept.home not in written:
        return ""
    bold = re.compile(rf"\*\*{re.escape(concept.name)}s?\*\*", re.IGNORECASE)
    home = next((section for section in written[concept.home] if bold.search(section.text)), None)
    return f"course open {_quoted(concept.home, home)}"


def _sections(words: list[str], root: Path, written: dict[str, list[Section]]) -> Iterator[Hit]:
    titles = {notebook.number: notebook.title for notebook in load_plan(root).notebooks}
    for number, found in written.items():
        for section in found:
            rank = _rank(words, section.heading, section.text)
            if rank is not None:
                where = f"{number} {titles.get(number, '')} › {section.heading}"
                yield Hit(rank, where, excerpt(section.text, words), f"course open {_quoted(number, section)}")


def _cards(words: list[str], root: Path) -> Iterator[Hit]:
    for number, deck in all_decks(root).items():
        for card in deck.cards:
            rank = _rank(words, "", f"{card.front}\n{card.back}")
            if rank is not None:
                yield Hit(
                    rank, f"card {card.id}", excerpt(f"{card.front} — {card.back}", words), f"course cards {number}"
                )


def _rank(words: list[str], name: str, text: str) -> int | None:
    """Return 1 where the name holds the words, 2 where the text has them side by side, 3 somewhere; else ``None``."""
    name, text = " ".join(name.casefold().split()), " ".join(text.casefold().split())
    if name and all(word in name for word in words):
        return 1
    if " ".join(words) in text:
        return 2
    return 3 if all(word in f"{name} {text}" for word in words) else None


def excerpt(text: str, words: list[str], width: int = 160) -> str:
    """Return about ``width`` characters of ``text`` around the first of ``words``, cut between words.

    Example:
        >>> excerpt("one two three four five six seven", ["four"], width=15)
        '… two three four five …'
    """
    plain = " ".join(_MARKUP.sub(" ", text).split())
    places = [place for word in words if (place := plain.casefold().find(word)) >= 0]
    middle = min(places, default=0)
    start, stop = max(0, middle - width // 2), min(len(plain), middle + width // 2)
    while start > 0 and plain[start - 1] != " ":
        start -= 1
    while stop < len(plain) and plain[stop] != " ":
        stop += 1
    return f"{'… ' if start else ''}{plain[start:stop].strip()}{' …' if stop < len(plain) else ''}"


def _quoted(number: str, section: Section | None) -> str:
    if section is None or section.level == 1:
        return number
    target = f"{number}#{section.anchor}"
    return target if re.fullmatch(r"[\w#.,:+-]+", target) else "'" + target.replace("'", "'\\''") + "'"
