"""The lines of a run log: strict JSON, one object each; what may stand in them, and in which order."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

FORMAT = "course_lib run log"
VERSION = 1
RESERVED = frozenset({"format", "resumed", "step", "wall_seconds"})
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # JSON has texts for them, no numbers

Entry = dict[str, Any]


class LogLines:
    """A run log read line by line, whole or while it grows.

    A last line that a kill cut short is left alone: nobody was told that it was written. Every other line that
    cannot be read is refused.

    Args:
        path: The log's file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.num_bytes = 0  # understood so far; what follows is not there yet, or broken
        self.ends_open = False  # the last line read has all of its text, but not its newline
        self._number = 1  # of the line that comes next
        self._steps: list[int] = []  # those that count, in order

    def read(self) -> list[Entry]:
        """Return the lines written since the last call: a header first, then rows and marks of resumption.

        Raises:
            ValueError: Naming file, line and fault, if this is no run log, one of a newer version, or damaged.
        """
        with open(self.path, "rb") as file:
            file.seek(self.num_bytes)
            *lines, rest = file.read().split(b"\n")
        entries = []
        for line in lines:
            if line.strip():
                entries.append(self._checked(self._parsed(line)))
            self._number += 1
            self.num_bytes += len(line) + 1
            self.ends_open = False
        if rest.strip() and (entry := _parsed_or_none(rest)) is not None:
            entries.append(self._checked(entry))
            self.num_bytes += len(rest)
            self.ends_open = True
        return entries

    def fault(self, what: str) -> ValueError:
        """Return an error that names the file and the line."""
        return ValueError(f"{self.path}, line {self._number}: {what}")

    def _parsed(self, line: bytes) -> Entry:
        entry = _parsed_or_none(line)
        if entry is None:
            what = "this is no run log" if self._number == 1 else "the line is damaged, and it is not the last one"
            raise self.fault(f"{what}: {line[:60]!r}.")
        return entry

    def _checked(self, entry: Entry) -> Entry:
        if self._number == 1:
            self._check_header(entry)
        elif _is_step(entry.get("resumed")):
            while self._steps and self._steps[-1] > entry["resumed"]:
                self._steps.pop()
        elif not (_is_step(entry.get("step")) and isinstance(entry.get("wall_seconds"), (int, float))):
            raise self.fault("expected a row with step and wall_seconds, or a mark of resumption.")
        else:
            if self._steps and entry["step"] <= self._steps[-1]:
                raise self.fault(f"step {entry['step']} comes after step {self._steps[-1]}.")
            self._steps.append(entry["step"])
        return entry

    def _check_header(self, entry: Entry) -> None:
        if entry.get("format") != FORMAT:
            raise self.fault("this is no run log; those begin with a header that RunLog writes.")
        if (version := entry.get("version")) != VERSION:
            raise self.fault(f"the log has format version {version!r}, this course_lib reads {VERSION}: update it.")
        if not isinstance(entry.get("settings"), dict):
            raise self.fault("the header has no settings.")


def resolved(entries: list[Entry]) -> list[Entry]:
    """Return the rows that count, in order: a mark of resumption voids the rows after its step."""
    rows: list[Entry] = []
    for entry in entries:
        if "step" in entry:
            rows.append(entry)
        elif "resumed" in entry:
            while rows and rows[-1]["step"] > entry["resumed"]:
                rows.pop()
    return rows


def json_scalar(value: object, name: str) -> float | int | str | bool:
    """Return ``value`` as JSON can hold it: itself, or a text for nan and the infinities.

    Raises:
        ValueError: If it is no number, text or truth value.
    """
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if value in NON_FINITE:
            raise ValueError(f"{name}: the text {value!r} would be read back as a number; pass float({value!r}).")
        return value
    hint = "read it with step.values() or float(...)" if isinstance(value, Tensor) else "convert it with float(...)"
    raise ValueError(f"{name} must be a Python number, text or truth value, got {type(value).__name__}: {hint}.")


def json_settings(value: object, name: str) -> Any:
    """Return settings as JSON can hold them: scalars, None, and dictionaries and lists of them.

    Raises:
        ValueError: Naming the place of the first value that is none of these.
    """
    if isinstance(value, dict):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"{name}: names must be texts, got {bad[0]!r}.")
        return {key: json_settings(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_settings(item, f"{name}[{index}]") for index, item in enumerate(value)]
    return None if value is None else json_scalar(value, name)


def _parsed_or_none(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line, parse_constant=_refuse)
    except ValueError:
        return None
    return _with_numbers(entry) if isinstance(entry, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON.")


def _with_numbers(value: Any) -> Any:
    """Turn the texts for nan and the infinities back into floats."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
