"""Where each concept lives: its section, its cards and questions, what it needs and leads to, what the library has."""

from __future__ import annotations

import ast
import importlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

from course_lib.study.checks.concepts import defining_cell, section_of
from course_lib.study.checks.links import web_anchor
from course_lib.study.checks.page import Page
from course_lib.study.material.schema import Concept, Deck, Glossary, Quiz
from course_lib.study.site.reference import PACKAGE, Entry

EVERYWHERE = 6  # a name used in more sections than this says nothing about a concept


@dataclass(frozen=True, slots=True)
class Place:
    """A concept with all that the glossary links it to."""

    concept: Concept
    section: str  # heading and anchor are empty while the home notebook is not on the site
    anchor: str
    leads_to: tuple[str, ...]
    cards: tuple[str, ...]
    questions: tuple[str, ...]
    library: tuple[str, ...]


def places(
    glossary: Glossary,
    pages: Mapping[str, Page],
    decks: Mapping[str, Deck],
    quizzes: Mapping[str, Quiz],
    documented: Iterable[Entry],
) -> list[Place]:
    """Return every concept's place, in the order of the glossary.

    Args:
        glossary: The concepts.
        pages: The notebooks on the site, by number.
        decks: Their cards, by number.
        quizzes: Their questions, by number.
        documented: What the reference documents.
    """
    leads_to: dict[str, list[str]] = defaultdict(list)
    for concept in glossary.concepts:
        for needed in concept.prerequisites:
            leads_to[needed.id].append(concept.id)
    cards = _about((card.id, card.concepts) for deck in decks.values() for card in deck.cards)
    questions = _about((question.id, question.concepts) for quiz in quizzes.values() for question in quiz.questions)
    library = _library(glossary, pages, documented)
    found = []
    for concept in glossary.concepts:
        section = home_section(pages.get(concept.home), concept)
        ties = (tuple(table.get(concept.id, ())) for table in (leads_to, cards, questions, library))
        found.append(Place(concept, section, web_anchor(section), *ties))
    return found


def home_section(page: Page | None, concept: Concept) -> str:
    """Return the heading under which a notebook defines a concept; empty if it does not, or is not there."""
    cell = defining_cell(page, concept) if page else None
    heading = section_of(page, cell) if page and cell else None
    return heading.text if heading else ""


def _about(items: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for item, concepts in items:
        for concept in concepts:
            found[concept].append(item)
    return found


def _library(glossary: Glossary, pages: Mapping[str, Page], documented: Iterable[Entry]) -> dict[str, list[str]]:
    """Return for each concept what is named with it, what the library calls the same, what its section works with.

    Of the last only what few other sections use.
    """
    full_name = {id(entry.target): entry.full_name for entry in documented if callable(entry.target)}
    uses: dict[str, list[str]] = {}
    count: Counter[str] = Counter()
    for number, page in pages.items():
        imported = _imported(page)
        in_section: dict[str, list[str]] = {}
        for heading in page.headings:
            if heading.level == 2:
                last, _ = page.extent(heading)
                code = [cell.source for cell in page.code if heading.position < cell.position <= last]
                named = {full_name[id(target)] for target in _named(code, imported) if id(target) in full_name}
                in_section[heading.text] = sorted(named)
                count.update(named)
        for concept in (concept for concept in glossary.concepts if concept.home == number):
            uses[concept.id] = in_section.get(_second_level(page, concept), [])
    skipped = (f"{PACKAGE}.notebook.", f"{PACKAGE}.study.")
    called = {_run_together(name.rpartition(".")[2]): name for name in full_name.values()}
    said = {concept.id: [f"{PACKAGE}.{name}" for name in concept.library] for concept in glossary.concepts}
    known = set(full_name.values())
    found = {}
    for concept_id, names in uses.items():
        keys = (_run_together(concept_id), _run_together(concept_id.removesuffix("-loss")))
        same_name = [called[key] for key in keys if key in called]
        telling = [name for name in names if count[name] <= EVERYWHERE and not name.startswith(skipped)]
        named_with_it = [name for name in said[concept_id] if name in known]  # a site may document a few parts only
        found[concept_id] = list(dict.fromkeys([*named_with_it, *same_name, *telling]))
    return found


def _run_together(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _second_level(page: Page, concept: Concept) -> str:
    cell = defining_cell(page, concept)
    above = [h for h in page.headings if h.level == 2 and cell and h.position <= cell.position]
    return above[-1].text if above else ""


def _imported(page: Page) -> dict[str, object]:
    """Return what the notebook imports from the library, by the names it uses for it."""
    found: dict[str, object] = {}
    for cell in page.code:
        for node in ast.walk(_tree(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
                for name in node.names:
                    found[name.asname or name.name] = _import(node.module, name.name)
    return found


def _import(module: str, name: str) -> object:
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def _named(sources: Iterable[str], imported: Mapping[str, object]) -> Iterator[object]:
    for source in sources:
        for node in ast.walk(_tree(source)):
            if isinstance(node, ast.Name) and node.id in imported:
                yield imported[node.id]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = imported.get(node.value.id)
                if isinstance(module, ModuleType) and hasattr(module, node.attr):
                    yield getattr(module, node.attr)


def _tree(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:  # a magic or a shell command, which uses nothing of the library
        return ast.Module(body=[], type_ignores=[])
