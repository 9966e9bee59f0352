"""Tell a stub that nobody has filled in from an answer."""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import textwrap
from types import CodeType, TracebackType
from typing import Any

_EMPTY_OPERATIONS = {"RESUME", "NOP", "CACHE", "POP_TOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


def is_stub(attempt: Any) -> bool:
    """Tell whether a function has nothing but a docstring, ``...``, ``pass`` or ``raise NotImplementedError``."""
    if attempt is None or attempt is Ellipsis:
        return True
    definition = definition_of(attempt)
    if definition is not None:
        return all(_is_empty(statement) for statement in definition.body)
    code = code_of(attempt)
    return code is not None and _does_nothing(code)


def has_gap(attempt: Any) -> bool:
    """Tell whether a ``...`` is left among a function's statements, as in a stub that gives some of the lines."""
    definition = definition_of(attempt)
    if definition is None:
        return False
    return any(
        isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return) and _is_ellipsis(node.value)
        for node in ast.walk(definition)
    )


def says_not_implemented(error: BaseException, attempt: Any) -> bool:
    """Tell a ``raise NotImplementedError`` written in the learner's code from one that a library raises.

    PyTorch raises the same exception for operations that it lacks; that is a wrong answer, not a missing one.
    """
    if not isinstance(error, NotImplementedError):
        return False
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not is_learners(trace, attempt):
        return False
    return "NotImplementedError" in trace.tb_frame.f_code.co_names


def is_learners(trace: TracebackType, attempt: Any) -> bool:
    """Tell whether a line of a traceback is of the module, or the notebook, that defines the attempt."""
    namespace = getattr(_plain(attempt), "__globals__", None)
    return namespace is not None and trace.tb_frame.f_globals is namespace


def code_of(attempt: Any) -> CodeType | None:
    """Return the code of a function, a method, a partial or a callable object; None for a builtin."""
    code = getattr(_plain(attempt), "__code__", None)
    return code if isinstance(code, CodeType) else None


def definition_of(attempt: Any) -> ast.FunctionDef | None:
    """Return the syntax tree of a ``def``, or None where there is no source or it is a ``lambda``."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(_plain(attempt))))
    except (OSError, TypeError, SyntaxError):
        return None
    first, code = tree.body[0] if tree.body else None, code_of(attempt)
    # The lines of a lambda may begin with the def around it, which is another function.
    return first if isinstance(first, ast.FunctionDef) and code and first.name == code.co_name else None


def _plain(attempt: Any) -> Any:
    while isinstance(attempt, functools.partial):
        attempt = attempt.func
    if not callable(attempt) or inspect.isroutine(attempt) or inspect.isclass(attempt):
        return inspect.unwrap(attempt) if callable(attempt) else attempt
    return type(attempt).__call__  # an object that is called like a function


def _is_ellipsis(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return any(_is_ellipsis(element) for element in node.elts)
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _is_empty(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Return(value=None):
            return True
        case ast.Return(value=value):
            return _is_ellipsis(value) or (isinstance(value, ast.Constant) and value.value is None)
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            return name == "NotImplementedError"
    return False


def _does_nothing(code: CodeType) -> bool:
    for instruction in dis.get_instructions(code):
        if instruction.opname not in _EMPTY_OPERATIONS:
            return False
        if instruction.opname in {"LOAD_CONST", "RETURN_CONST"} and instruction.argval not in (None, Ellipsis):
            return False
    return True
