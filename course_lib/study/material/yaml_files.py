"""Read YAML that people edit: every problem of a file is reported with its line, and with what to do."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]
_Model = TypeVar("_Model", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a content file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class ContentError(ValueError):
    """Content files that cannot be used: one line ``file:line: what is wrong; what to do`` per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain data, with the line of every key and list item."""

    file: str
    data: Any
    lines: dict[Location, int] = field(repr=False)

    def problem(self, location: Location, text: str) -> Problem:
        """Return a problem at ``location``, or at the nearest place around it that the file has."""
        while location not in self.lines:
            location = location[:-1]
        return Problem(self.file, self.lines[location], text)

    def real_location(self, location: Location) -> Location:
        """Drop the parts of a pydantic location that are no key of the file, such as the name of a question's kind."""
        kept: Location = ()
        for part in location:
            if (*kept, part) in self.lines:
                kept = (*kept, part)
        return kept


def read_yaml(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        ContentError: If the file is missing or is no YAML, repeats a key, or uses an alias.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError([Problem(file, 1, f"cannot be read as UTF-8 text ({error}); check the file")]) from error
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        said = getattr(error, "problem", None) or str(error)
        line = 1 if mark is None else mark.line + 1
        cure = "mend it: texts with ':' or '#' go in quotes or after '|', and indents are spaces"
        raise ContentError([Problem(file, line, f"not valid YAML ({said}); {cure}")]) from error
    walk = _Walk(file)
    data = None if root is None else walk.plain(root, ())
    if walk.problems:
        raise ContentError(walk.problems)
    return Document(file, data, {(): 1} | walk.lines)


def parse(document: Document, model: type[_Model], *, also: Iterable[Problem] = ()) -> _Model:
    """Validate a document against a pydantic model.

    Args:
        document: From ``read_yaml``.
        model: What the file must hold.
        also: Problems found by other means; they are raised together with the model's.

    Raises:
        ContentError: With every problem found.
    """
    from pydantic import ValidationError

    problems = list(also)
    try:
        parsed = model.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details:
            if detail["type"] == "too_short" and any(_inside(other["loc"], detail["loc"]) for other in details):
                continue  # pydantic counts only sound items: what is wrong inside is told, and is the whole story
            location = document.real_location(detail["loc"])
            problems.append(document.problem(location, _in_words(detail, _known_keys(model))))
    if problems:
        raise ContentError(problems)
    return parsed


def _inside(inner: Location, outer: Location) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _in_words(detail: ErrorDetails, known_keys: frozenset[str]) -> str:
    kind, name, got = detail["type"], str(detail["loc"][-1]) if detail["loc"] else "the file", detail["input"]
    if kind == "missing":
        return f"'{name}' is missing; add it"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, known_keys, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "remove it"
        return f"unknown key '{name}'; {hint}"
    if kind == "value_error":
        return f"'{name}': {detail['msg'].removeprefix('Value error, ')}"
    if kind == "string_type":
        return f"'{name}' must be text, got {got!r}; put it in quotes"
    if kind.startswith("union_tag"):
        expected = detail["ctx"].get("expected_tags", "")
        return f"'kind' is missing or unknown; write one of {expected}" if expected else "'kind' is missing; add it"
    return f"'{name}': {detail['msg'][:1].lower()}{detail['msg'][1:]}, got {str(got)[:60]!r}; correct it"


@functools.cache
def _known_keys(model: type[BaseModel]) -> frozenset[str]:
    """Return every key that a file of this model may have anywhere, for "did you mean"."""

    def properties(schema: Any) -> Iterable[str]:
        if isinstance(schema, dict):
            inner = schema.get("properties")
            yield from inner if isinstance(inner, dict) else ()
            for value in schema.values():
                yield from properties(value)
        elif isinstance(schema, list):
            for value in schema:
                yield from properties(value)

    return frozenset(properties(model.model_json_schema()))


_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads 5,000 cards ten times faster


class _Walk:
    """Turns YAML nodes into plain data, noting lines, repeated keys and aliases."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Location, int] = {}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()
        self._constructor = yaml.constructor.SafeConstructor()

    def plain(self, node: yaml.Node, location: Location) -> Any:
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self._complain(node, f"a tag ({node.tag}); remove it")
            return None
        if id(node) in self._seen:
            self._complain(node, "an alias (*name); write the text out")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*location, index)) for index, item in enumerate(node.value)]
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(key_node, "a key that is not a word; correct it")
                continue
            key = key_node.value
            if key in mapping:
                self._complain(key_node, f"the key '{key}' is there twice; keep one")
                continue
            self.lines[(*location, key)] = key_node.start_mark.line + 1
            mapping[key] = self.plain(value_node, (*location, key))
        return mapping

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._complain(node, f"the value {node.value!r} cannot be read ({error}); put it in quotes")
            return None

    def _complain(self, node: yaml.Node, text: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, text))
