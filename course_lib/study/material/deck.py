"""Load the course's cards, questions, concepts and plan, each checked on its own and against the others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from course_lib.content import content_path, course_root
from course_lib.study.material.schema import Deck, Glossary, Plan, Quiz
from course_lib.study.material.yaml_files import ContentError, Document, Problem, parse, read_yaml

_Loaded = TypeVar("_Loaded")


def load_deck(notebook: str, root: Path | None = None) -> Deck:
    """Return the cards of one notebook.

    Args:
        notebook: Its number, such as ``"00"``.
        root: The course folder; found by ``course_root`` if left out.

    Raises:
        FileNotFoundError: If the notebook has no cards.
        ContentError: If the file (or the glossary it refers to) has problems; all of them are named.
    """
    root = root or course_root()
    return _deck(content_path("flashcards", notebook, ".yaml", root), root)


def load_quiz(notebook: str, root: Path | None = None) -> Quiz:
    """Return the questions of one notebook; arguments and errors as for ``load_deck``."""
    root = root or course_root()
    return _quiz(content_path("quizzes", notebook, ".yaml", root), root)


def load_glossary(root: Path | None = None) -> Glossary:
    """Return every concept of the course.

    Raises:
        ContentError: For repeated ids or names, homes and prerequisites that do not exist, prerequisites that come
            later without being marked ``black_box``, and cycles.
    """
    root = root or course_root()
    return _cached(_read_glossary, root / "flashcards" / "concepts.yaml", root / "notebooks" / "plan.yaml")


def load_plan(root: Path | None = None) -> Plan:
    """Return the notebooks, parts and paths of the course.

    Raises:
        ContentError: For repeated numbers, parts that are not named, and paths to notebooks that are not planned.
    """
    return _cached(_read_plan, (root or course_root()) / "notebooks" / "plan.yaml")


def all_decks(root: Path | None = None) -> dict[str, Deck]:
    """Return every deck by its notebook's number, ids being unique over the course; raises as ``load_deck``."""
    root = root or course_root()
    return _all(root, "flashcards", _deck, lambda deck: deck.cards)


def all_quizzes(root: Path | None = None) -> dict[str, Quiz]:
    """Return every quiz by its notebook's number, ids being unique over the course; raises as ``load_deck``."""
    root = root or course_root()
    return _all(root, "quizzes", _quiz, lambda quiz: quiz.questions)


def content_problems(root: Path | None = None) -> list[Problem]:
    """Return every problem of every content file, in order of files and lines; empty for a sound course."""
    root = root or course_root()
    problems: list[Problem] = []
    for load in (load_plan, load_glossary, all_decks, all_quizzes):
        try:
            load(root)
        except ContentError as error:
            problems += error.problems
    return list(ContentError(problems).problems)


def _cached(read: Callable[..., _Loaded], *paths: Path) -> _Loaded:
    """Read files once for as long as they do not change."""
    stamps = [(path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None for path in paths]
    loaded: _Loaded = _read_cached(read, paths, tuple(stamps))
    return loaded


@functools.lru_cache(maxsize=512)
def _read_cached(read: Callable[..., Any], paths: tuple[Path, ...], stamps: tuple[Any, ...]) -> Any:
    return read(*paths)


def _deck(path: Path, root: Path) -> Deck:
    return _cached(_read_deck, path, root / "flashcards" / "concepts.yaml", root / "notebooks" / "plan.yaml")


def _quiz(path: Path, root: Path) -> Quiz:
    return _cached(_read_quiz, path, root / "flashcards" / "concepts.yaml", root / "notebooks" / "plan.yaml")


def _read_deck(path: Path, glossary: Path, plan: Path) -> Deck:
    document = read_yaml(path)
    return parse(document, Deck, also=_item_problems(document, path, "cards", _cached(_read_glossary, glossary, plan)))


def _read_quiz(path: Path, glossary: Path, plan: Path) -> Quiz:
    document = read_yaml(path)
    known = _cached(_read_glossary, glossary, plan)
    return parse(document, Quiz, also=_item_problems(document, path, "questions", known))


def _item_problems(document: Document, path: Path, key: str, glossary: Glossary) -> Iterator[Problem]:
    """Check what spans several items; it looks at the raw data, so that it reports beside the model's complaints."""
    data = document.data if isinstance(document.data, dict) else {}
    notebook = data.get("notebook")
    if isinstance(notebook, str) and notebook != path.name[:2]:
        yield document.problem(("notebook",), f"notebook is {notebook!r} in a file named {path.name}; make them agree")
    concepts = glossary.by_id()
    retired = _sequence(data.get("retired"))
    first_use: dict[str, int] = {}
    for index, item in enumerate(_sequence(data.get(key))):
        item = item if isinstance(item, dict) else {}
        where = (key, index, "id")
        item_id = item.get("id")
        if isinstance(item_id, str):
            if item_id in retired:
                yield document.problem(where, f"the id {item_id!r} is retired; choose a new one")
            if item_id in first_use:
                yield document.problem(where, f"the id {item_id!r} is taken in line {first_use[item_id]}; rename it")
            if item_id[:2] != path.name[:2]:
                yield document.problem(where, f"the id {item_id!r} must begin with {path.name[:2]!r}; rename it")
            first_use.setdefault(item_id, document.lines[where])
        for position, concept in enumerate(_sequence(item.get("concepts"))):
            if isinstance(concept, str) and concept not in concepts:
                text = f"unknown concept {concept!r}; use an id of flashcards/concepts.yaml"
                yield document.problem((key, index, "concepts", position), text)


def _all(
    root: Path, folder: str, load: Callable[[Path, Path], _Loaded], items: Callable[[_Loaded], Iterable[Any]]
) -> dict[str, _Loaded]:
    loaded: dict[str, _Loaded] = {}
    problems: list[Problem] = []
    owner: dict[str, str] = {}
    for path in sorted((root / folder).glob("[0-9][0-9]_*.yaml")):
        number, file = path.name[:2], f"{folder}/{path.name}"
        if number in loaded:
            problems.append(Problem(file, 1, f"a second file for notebook {number}; merge the two"))
            continue
        try:
            loaded[number] = load(path, root)
        except ContentError as error:
            problems += error.problems
            continue
        for item in items(loaded[number]):
            if item.id in owner:
                problems.append(Problem(file, 1, f"the id {item.id!r} is taken in {owner[item.id]}; rename it"))
            owner.setdefault(item.id, file)
    if problems:
        raise ContentError(problems)
    return loaded


def _read_plan(path: Path) -> Plan:
    from course_lib.study.material.glossary import plan_problems

    document = read_yaml(path)
    return parse(document, Plan, also=plan_problems(document))


def _read_glossary(path: Path, plan: Path) -> Glossary:
    from course_lib.study.material.glossary import glossary_problems

    document = read_yaml(path)
    homes = frozenset(notebook.number for notebook in _cached(_read_plan, plan).notebooks)
    return parse(document, Glossary, also=glossary_problems(document, homes))


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
