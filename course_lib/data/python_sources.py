"""Read the text that a Python installation carries: documentation topics, docstrings, sources. Nothing is imported."""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["docs", "docstrings", "code"]

_LEFT_OUT = {"test", "tests", "idle_test", "idlelib", "lib2to3", "encodings", "pydoc_data", "__pycache__"}
_TABLE_LINE = re.compile(r"\s*[\[({]*['\"\d]")  # an entry rather than a statement: 'Aacute': '\xc1',
_MOSTLY = 0.5  # a file with a larger share of such lines is a table that a program has written


def library_folder() -> Path:
    """Return where this Python keeps its standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def topics(library: Path) -> dict[str, str]:
    """Return the language reference as ``help()`` shows it: name of a topic -> text; empty if it is not there.

    A topic whose text is a part of another is left out, so that no passage comes twice.

    Warns:
        UserWarning: If the file is damaged; then there are no topics.
    """
    path = library / "pydoc_data" / "topics.py"
    text = source_text(path) if path.is_file() else None
    if text is None:
        return {}
    try:
        found = _first_dictionary(text)
    except (SyntaxError, ValueError, TypeError) as error:
        warnings.warn(f"left out the topics in {path}, which cannot be parsed: {error}.", stacklevel=2)
        return {}
    kept: dict[str, str] = {}
    passages: list[str] = []
    for name in sorted(found, key=lambda name: (-len(found[name]), name)):
        topic = found[name].strip()
        _, _, body = topic.partition("\n\n")  # without its title, which the longer text may underline otherwise
        if not any((body.strip() or topic) in passage for passage in passages):
            kept[name] = topic + "\n"
            passages.append(topic)
    return kept


def _first_dictionary(text: str) -> dict[str, str]:
    """The dictionary of texts that a source assigns first; ValueError if there is none, or it holds something else."""
    values = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)]
    dictionaries = (ast.literal_eval(value) for value in values if isinstance(value, ast.Dict))
    found: dict[str, str] | None = next(dictionaries, None)
    if found is None:
        raise ValueError("it assigns no dictionary")
    for item in (item for pair in found.items() for item in pair):
        if not isinstance(item, str):
            raise ValueError(f"expected texts, found {item!r}")
        item.encode()  # a lone surrogate is no text
    return found


def modules(library: Path) -> dict[str, Path]:
    """Return the modules of the standard library written in Python: dotted name -> file.

    Left out are tests, IDLE, lib2to3, the tables in ``encodings``, what was written for one machine, and folders
    whose names are no packages', such as ``site-packages``.
    """
    found: dict[str, Path] = {}
    for folder, below, files in os.walk(library):
        below[:] = sorted(name for name in below if name.isidentifier() and name not in _LEFT_OUT)  # not entered
        for name in sorted(files):
            path = Path(folder, name)
            parts = path.relative_to(library).with_suffix("").parts
            if path.suffix == ".py" and parts[-1].isidentifier() and not parts[-1].startswith("_sysconfigdata"):
                found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def source_text(path: Path) -> str | None:
    r"""Return a file's text, decoded as Python would (PEP 263), newlines as ``\n``.

    Returns:
        None if it cannot be decoded.

    Warns:
        UserWarning: If it cannot be decoded.
    """
    try:
        with tokenize.open(path) as file:
            text = file.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        warnings.warn(f"left out {path}, which cannot be decoded: {error}.", stacklevel=2)
        return None
    return text


def is_table(text: str) -> bool:
    r"""Tell whether most lines are entries of a table, as in ``html/entities.py``; such text teaches nothing.

    Example:
        >>> is_table("names = {\n    'Aacute': 193,\n    'aacute': 225,\n    'Acirc': 194,\n}\n")
        True
        >>> is_table("for name in ('a', 'b'):\n    print(name)\n")
        False
    """
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(bool(_TABLE_LINE.match(line)) for line in lines) > _MOSTLY * len(lines)


def docstrings(module: str, text: str) -> str | None:
    r"""Return the docstrings of a module's source, each under its dotted name, in the order of the file.

    Returns:
        None if there are none.

    Warns:
        UserWarning: If the source is not valid in the running version of Python, or a docstring holds a lone
            surrogate, which no encoding can write; then None is returned as well.

    Example:
        >>> print(docstrings("cup", "'''Cups.'''\nclass Tea:\n    def sip(self):\n        '''Drink a little.'''\n"))
        cup
        Cups.
        <BLANKLINE>
        cup.Tea.sip
        Drink a little.
        <BLANKLINE>
    """
    try:
        pieces = [f"{name}\n{docstring}\n" for name, docstring in _documented(ast.parse(text), module)]
        "".join(pieces).encode()
    except (SyntaxError, ValueError) as error:
        warnings.warn(f"left out the docstrings of {module}, which cannot be parsed: {error}.", stacklevel=2)
        return None
    return "\n".join(pieces) or None


def _documented(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Each module, class and function with a docstring, by dotted name, depth first."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring:
            yield name, docstring
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _documented(child, f"{name}.{child.name}")
        elif isinstance(
            child, ast.stmt | ast.excepthandler | ast.match_case
        ):  # such as `if sys.platform == ...:` around a function
            yield from _documented(child, name)
