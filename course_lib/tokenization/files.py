"""A tokenizer as a JSON file: written whole or not at all, and checked when it is read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .merge import Pair

FORMAT = "course_lib byte-level BPE"
VERSION = 1
VERSION_WITH_ADDED = 2  # of files with tokens added after training; others are as they always were
_KEYS: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "version": int,
    "pattern": (str, type(None)),
    "special_tokens": list,
    "merges": list,
}
_ADDED = "added_tokens"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a tokenizer file holds."""

    merges: Sequence[Pair]
    special_tokens: Sequence[str]
    added_tokens: Sequence[str]
    pattern: str | None


def save(path: str | PathLike[str], contents: Contents) -> None:
    """Write a tokenizer file.

    The file has the merges as pairs of ids, the special tokens, the pattern, and the SHA-256 of all that, by which
    `load` sees that nothing was lost or changed.

    Raises:
        OSError: If it cannot be written.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION_WITH_ADDED if contents.added_tokens else VERSION,
        "pattern": contents.pattern,
        "special_tokens": list(contents.special_tokens),
        "merges": [list(pair) for pair in contents.merges],
    }
    if contents.added_tokens:
        record[_ADDED] = list(contents.added_tokens)
    record["sha256"] = _digest(record)
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        os.replace(unfinished, path)  # so that an old file is there until the new one is whole
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: str | PathLike[str]) -> Contents:
    """Read a tokenizer file, check it, and return what is in it; whether the merges fit is the tokenizer's to say.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no whole, undamaged tokenizer file of a version known here.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no tokenizer file, or was cut short: it is not valid JSON ({error}).") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f'{path} is no tokenizer file: expected JSON with "format": {FORMAT!r}, as save writes it.')
    version = record.get("version")
    if version not in (VERSION, VERSION_WITH_ADDED):
        raise ValueError(
            f"{path} has version {version!r} of the format, expected {VERSION} or {VERSION_WITH_ADDED}: a newer "
            "course_lib wrote it; update, or save it again with this one."
        )
    keys: Mapping[str, type | tuple[type, ...]] = _KEYS if version == VERSION else _KEYS | {_ADDED: list}
    digest = record.pop("sha256", None)
    for key, kind in keys.items():
        if key not in record:
            raise ValueError(f"{path} lacks {key!r}; it has {', '.join(map(repr, record))}.")
        if not isinstance(record[key], kind):
            raise ValueError(f"{path}: {key!r} is of the wrong kind, {type(record[key]).__name__}.")
    if unknown := sorted(record.keys() - keys.keys()):
        raise ValueError(f"{path} has unknown entries: {', '.join(map(repr, unknown))}.")
    if digest != _digest(record):
        raise ValueError(
            f"{path} was changed or damaged: its contents do not fit its SHA-256. Save the tokenizer anew."
        )
    for rank, pair in enumerate(record["merges"]):
        if not (isinstance(pair, list) and [type(part) for part in pair] == [int, int]):
            raise ValueError(f"{path}: merge {rank} must be a pair of ids, got {pair!r}.")
    merges = [(first, second) for first, second in record["merges"]]
    return Contents(merges, record["special_tokens"], record.get(_ADDED, []), record["pattern"])


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
