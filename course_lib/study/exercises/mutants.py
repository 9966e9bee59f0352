"""Small, wrong variations of a function, made by changing one place of its syntax tree at a time."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from course_lib.study.exercises.mutant_rules import expression_variants, is_negative_constant, statement_variants

FILENAME = "<mutant>"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A variation: what was changed, as ``before -> after``, in which line of the function, and the function itself."""

    description: str
    line: int
    function: Callable[..., Any]

    def __str__(self) -> str:
        return f"line {self.line}: {self.description}"


def mutants(function: Callable[..., Any]) -> Iterator[Mutant]:
    """Yield every variation of a function's body that differs from it and from those before.

    Signature, docstring, annotations, error messages and ``raise`` statements stay as they are.

    Raises:
        ValueError: If the function is not a plain ``def`` of a module: its source must be readable, and it must not
            use variables of a function around it.

    Example:
        >>> def hinge(margin):
        ...     return max(0, 1 - margin)
        >>> for mutant in list(mutants(hinge))[:3]:
        ...     print(mutant, "gives", mutant.function(0.25))
        line 2: max -> min gives 0
        line 2: 0 -> 1 gives 1
        line 2: 1 - margin -> 1 + margin gives 1.25
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise ValueError(f"mutants needs a function whose source can be read, got {function!r} ({error}).") from error
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or definition.name != function.__name__ or function.__closure__:
        raise ValueError(f"mutants needs a plain def of a module, without variables from around it; got {function!r}.")
    definition.decorator_list = []
    seen = {ast.unparse(tree)}
    for parent, field, index in list(_places(definition)):
        node = _get(parent, field, index)
        for new in (expression_variants if isinstance(node, ast.expr) else statement_variants)(node, definition):
            _put(parent, field, index, new)
            text = ast.unparse(tree)
            if text not in seen:
                seen.add(text)
                yield Mutant(_described(node, new), getattr(node, "lineno", 0), _compiled(text, function))
            _put(parent, field, index, node)


def _places(definition: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Yield where in the body an expression or a statement hangs: its parent, the field, the index in a list."""
    body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    first = len(definition.body) - len(body)
    for index in range(first, len(definition.body)):
        yield definition, "body", index
        yield from _within(definition.body[index])


def _within(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    if isinstance(parent, ast.Raise | ast.Assert | ast.JoinedStr) or is_negative_constant(parent):
        return
    for field, value in ast.iter_fields(parent):
        if field in {"annotation", "returns", "decorator_list"}:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.expr | ast.stmt):
                yield parent, field, index
            if isinstance(child, ast.AST):
                yield from _within(child)


def _get(parent: ast.AST, field: str, index: int | None) -> Any:
    value = getattr(parent, field)
    return value if index is None else value[index]


def _put(parent: ast.AST, field: str, index: int | None, node: Any) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _described(before: Any, after: Any) -> str:
    old, new = _short(before), _short(after)
    return f"remove: {old}" if new == "pass" else f"{old} -> {new}"


def _short(node: ast.AST) -> str:
    lines = ast.unparse(node).splitlines()
    return lines[0] + (" ..." if len(lines) > 1 else "")


def _compiled(source: str, function: Callable[..., Any]) -> Callable[..., Any]:
    namespace = dict(function.__globals__)
    exec(compile("from __future__ import annotations\n" + source, FILENAME, "exec"), namespace)
    compiled: Callable[..., Any] = namespace[function.__name__]
    return compiled
