"""The rules of the glossary and the plan: one home per concept, prerequisites that come earlier, and no circles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from course_lib.study.material.yaml_files import Document, Problem


def glossary_problems(document: Document, homes: frozenset[str]) -> Iterator[Problem]:
    """Check the concepts of a glossary against each other and against the planned notebooks.

    Args:
        document: The glossary, as read.
        homes: Numbers of the planned notebooks.
    """
    concepts = {index: item for index, item in enumerate(_sequence(document.data)) if isinstance(item, dict)}
    yield from _repeats(document, concepts, "id")
    yield from _repeats(document, concepts, "name")
    home_of = {item.get("id"): item.get("home") for item in concepts.values()}
    edges: dict[str, list[str]] = {}
    line_of: dict[str, int] = {}
    for index, item in concepts.items():
        name, home = item.get("id"), item.get("home")
        if not (isinstance(name, str) and isinstance(home, str)):
            continue  # the model says so
        line_of.setdefault(name, index)
        if home not in homes:
            yield document.problem((index, "home"), f"notebook {home!r} is not in notebooks/plan.yaml; correct it")
        for position, entry in enumerate(_sequence(item.get("prerequisites"))):
            needed, black_box = _prerequisite(entry)
            where = (index, "prerequisites", position)
            needed_home = home_of.get(needed)
            if needed not in home_of:
                yield document.problem(where, f"{name!r} needs {needed!r}, which is no concept; add it or correct it")
                continue
            if not black_box:
                edges.setdefault(name, []).append(needed)
            later = isinstance(needed_home, str) and needed_home > home
            if later and not black_box:
                text = f"{name!r} ({home}) needs {needed!r}, taught later ({needed_home})"
                yield document.problem(where, f"{text}; drop it, or write {{id: {needed}, black_box: true}}")
            if black_box and not later:
                text = f"{needed!r} ({needed_home}) is taught by then; write it without black_box"
                yield document.problem(where, text)
    cycle = find_cycle(edges)
    if cycle:
        text = f"the prerequisites go in a circle: {' -> '.join(cycle)}; drop one"
        yield document.problem((line_of[cycle[0]],), text)


def plan_problems(document: Document) -> Iterator[Problem]:
    """Check the plan: numbers and slugs once each and in order, parts named, paths made of planned notebooks."""
    data = document.data if isinstance(document.data, dict) else {}
    listed = _sequence(data.get("notebooks"))
    notebooks = {index: item for index, item in enumerate(listed) if isinstance(item, dict)}
    yield from _repeats(document, notebooks, "number", "notebooks")
    yield from _repeats(document, notebooks, "slug", "notebooks")
    numbers = [item.get("number") for item in notebooks.values()]
    if all(isinstance(number, str) for number in numbers) and numbers != sorted(numbers, key=str):
        yield document.problem(("notebooks",), "the notebooks are not in order of their numbers; sort them")
    parts, paths = _mapping(data.get("parts")), _mapping(data.get("paths"))
    for index, item in notebooks.items():
        if item.get("part") not in parts:
            where = ("notebooks", index, "part")
            yield document.problem(where, f"part {item.get('part')!r} is not named under 'parts'; name it")
    for name, path in paths.items():
        for position, number in enumerate(_sequence(path)):
            if number not in numbers or number in path[:position]:
                text = f"{number!r} is no planned notebook, or is in the path twice; correct it"
                yield document.problem(("paths", name, position), text)


def find_cycle(edges: dict[str, list[str]]) -> list[str]:
    """Return one circle of a directed graph, its first node repeated at the end; empty if there is none.

    Example:
        >>> find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]})
        ['b', 'c', 'b']
        >>> find_cycle({"a": ["b", "c"], "b": ["c"]})
        []
    """
    finished: set[str] = set()
    for start in edges:
        trail = [start]
        pending = [iter(edges[start])] if start not in finished else []
        while pending:
            following = next((node for node in pending[-1] if node not in finished), None)
            if following is None:
                pending.pop()
                finished.add(trail.pop())
            elif following in trail:
                return [*trail[trail.index(following) :], following]
            else:
                trail.append(following)
                pending.append(iter(edges.get(following, [])))
    return []


def _repeats(document: Document, items: dict[int, dict[str, Any]], key: str, under: str = "") -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, item in items.items():
        value = item.get(key)
        where = (under, index, key) if under else (index, key)
        if isinstance(value, str) and value.casefold() in first:
            line = first[value.casefold()]
            yield document.problem(where, f"the {key} {value!r} is taken in line {line}; rename it")
        elif isinstance(value, str):
            first[value.casefold()] = document.lines[where]


def _prerequisite(entry: Any) -> tuple[Any, bool]:
    return (entry.get("id"), entry.get("black_box") is True) if isinstance(entry, dict) else (entry, False)


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
