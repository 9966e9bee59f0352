"""Prose and code of the running Python installation: real text that is always there, without a network."""

from __future__ import annotations

import hashlib
import platform
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from .python_sources import Kind, docstrings, is_table, library_folder, modules, source_text, topics

if TYPE_CHECKING:
    from datasets import Dataset

_KINDS: dict[str, tuple[Kind, ...]] = {
    "all": ("docs", "code"),
    "docs": ("docs",),
    "docstrings": ("docstrings",),
    "code": ("code",),
}
_VALIDATION_SHARE = 0.1
_SALT = "8"  # with this one validation is 8.7 to 10.5 % of the text, of docs and of code alike, in Python 3.10 to 3.13

# What may become a row: its kind, its source, and how to get its text (None: it has none after all).
_Candidate = tuple[Kind, str, Callable[[], str | None]]


def python_text(
    kind: Literal["all", "docs", "docstrings", "code"] = "all",
    *,
    split: Literal["train", "validation"] = "train",
    max_bytes: int | None = None,
    library: str | Path | None = None,
) -> Dataset:
    """Return text that every Python installation carries: documentation, docstrings, sources.

    Messy and repetitive, as real text is. Nothing is imported to read it. One installation always gives the same
    rows; another release of Python, even a patch release, gives slightly different ones. Needs ``datasets`` (extra
    ``learn``).

    - ``docs``: the language reference as ``help("with")`` prints it, about 60 topics, 0.4 MB.
    - ``code``: the standard library's modules, about 470 with 8.7 MB in Python 3.11. Tests, IDLE, lib2to3, the
      tables of ``encodings`` and files that are mostly table entries are left out.
    - ``docstrings``: the docstrings of those modules, one row a module, about 1.8 MB of prose.
    - ``all``: docs and code. Docstrings are part of the code, so no text comes twice.

    Args:
        kind: Which of them.
        split: ``"validation"`` holds about a tenth of the bytes of each kind, ``"train"`` the rest. A hash of the
            name decides, for a whole package at once: no module of ``asyncio`` is on the other side of another, and
            a module's docstrings are where its code is.
        max_bytes: Stop at this many bytes of UTF-8, in the middle of a document if need be. Only as many files
            are read. A million takes a tenth of a second, all of ``code`` less than one, all docstrings three.
        library: The folder of another standard library; by default this Python's.

    Returns:
        A ``datasets.Dataset``, one row a document, with columns ``text``, ``kind`` (``docs``, ``docstrings`` or
        ``code``) and ``source`` (``help:with``, ``asyncio.events``). Rows come in an order that a hash decides, so
        the first of them are a fair sample of all. No document is empty, no two have the same text.

    Raises:
        ValueError: If an argument is none of these, or this installation has no text of the kind (one that ships
            its library compiled or as a zip file).

    Warns:
        UserWarning: If a file cannot be decoded or parsed, or ``"all"`` lacks one of its kinds.

    Example:
        >>> text = python_text("docs", max_bytes=100_000)
        >>> text.column_names, sum(len(row["text"].encode()) for row in text)
        (['text', 'kind', 'source'], 100000)
        >>> text.info.license
        'PSF-2.0'

    Reference: Python Software Foundation, *The Python Language Reference* and *The Python Standard Library*, licence
    PSF-2.0 (a few modules carry permissive notices of their own)
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r}.")
    if split not in ("train", "validation"):
        raise ValueError(f"split must be 'train' or 'validation', got {split!r}.")
    if max_bytes is not None and max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, or None for all there is, got {max_bytes}.")
    folder = library_folder() if library is None else Path(library)
    candidates = [candidate for each in _KINDS[kind] for candidate in _candidates(each, folder)]
    missing = [each for each in _KINDS[kind] if all(found != each for found, _, _ in candidates)]
    if len(missing) == len(_KINDS[kind]):
        raise ValueError(
            f"the Python library in {folder} holds no {' and no '.join(missing)}: expected pydoc_data/topics.py and "
            "modules as .py files. Take a full installation of Python, or from_files(folder, kind='text')."
        )
    if missing:
        warnings.warn(f"the Python library in {folder} holds no {missing[0]}; the rest is returned.", stacklevel=2)
    rows = list(_rows(sorted(candidates, key=_order), split, max_bytes))
    import datasets

    columns = {name: [row[place] for row in rows] for place, name in enumerate(("text", "kind", "source"))}
    features = datasets.Features({name: datasets.Value("string") for name in columns})
    info = datasets.DatasetInfo(
        description=f"{kind}, {split}, of Python {platform.python_version() if library is None else folder}",
        license="PSF-2.0",
        homepage="https://docs.python.org/3/license.html",
        features=features,
    )
    return datasets.Dataset.from_dict(columns, features=features, info=info)


def _candidates(kind: Kind, folder: Path) -> list[_Candidate]:
    assert kind in get_args(Kind)
    if kind == "docs":
        return [(kind, f"help:{name}", lambda text=text: text) for name, text in topics(folder).items()]  # type: ignore[misc]
    read = _code if kind == "code" else _docstrings
    return [(kind, name, lambda name=name, path=path: read(name, path)) for name, path in modules(folder).items()]  # type: ignore[misc]


def _code(_name: str, path: Path) -> str | None:
    text = source_text(path)
    return None if text is None or not text.strip() or is_table(text) else text


def _docstrings(name: str, path: Path) -> str | None:
    code = _code(name, path)
    return None if code is None else docstrings(name, code)


def _rows(candidates: list[_Candidate], split: str, max_bytes: int | None) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    num_bytes = 0
    for kind, source, text_of in candidates:
        if (_number(_unit(source)) < _VALIDATION_SHARE) != (split == "validation"):
            continue
        text = text_of()
        if text is None or text in seen:
            continue
        seen.add(text)
        if max_bytes is not None and (num_bytes := num_bytes + len(text.encode())) >= max_bytes:
            room = max_bytes - (num_bytes - len(text.encode()))
            if cut := text.encode()[:room].decode(errors="ignore"):  # a character cut in two is dropped
                yield cut, kind, source
            return
        yield text, kind, source


def _unit(source: str) -> str:
    """What is never cut in two by a split: a topic, a package with all its modules."""
    return source if source.startswith("help:") else source.partition(".")[0]


def _order(candidate: _Candidate) -> float:
    return _number(f"{candidate[0]} {candidate[1]}")


def _number(name: str) -> float:
    """A fixed number in [0, 1) for each name, alike on every machine (Python's own ``hash`` is not)."""
    return int.from_bytes(hashlib.sha256(f"{_SALT}:{name}".encode()).digest()[:8], "big") / 2**64
