"""A learner's progress as a JSON file: to keep a copy, or to carry it to another machine."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from course_lib.study.memory.progress import Event, Progress

FORMAT = "how-ai-models-are-trained/progress"
VERSION = 1


class _ExportedEvent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    kind: Literal["answer", "review", "exercise"]
    subject: Annotated[str, Field(min_length=1)]
    result: Annotated[int, Field(ge=0, le=4)]
    answer: str | None
    at: AwareDatetime

    @model_validator(mode="after")
    def _result_fits_kind(self) -> _ExportedEvent:
        allowed = range(1, 5) if self.kind == "review" else range(2)
        if self.result not in allowed:
            raise ValueError(f"the result of a {self.kind} is one of {list(allowed)}, got {self.result}")
        return self

    def event(self) -> Event:
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return Event(self.id, self.kind, self.subject, self.result, self.answer, at)


class _Export(BaseModel):
    format: Literal["how-ai-models-are-trained/progress"]
    version: int
    events: list[_ExportedEvent]


def export_progress(progress: Progress, path: Path, *, overwrite: bool = False) -> int:
    """Write all of ``progress`` to ``path``; return the number of events written.

    The file appears whole or not at all.

    Raises:
        ValueError: If the file is there already and ``overwrite`` is not set.
    """
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: choose another name, or use --force to replace it.")
    events = progress.events()
    written = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"format": FORMAT, "version": VERSION, "written": written, "events": [asdict(event) for event in events]}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return len(events)


def import_progress(progress: Progress, path: Path) -> int:
    """Merge an exported file into ``progress``; return how many events were new.

    Nothing that is recorded is lost or replaced; importing the same file again adds nothing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an export of ours, or of a newer version; nothing is imported then.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: give the file that `course progress export` wrote.")
    try:
        export = _Export.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(
            f"{path} is not an export of progress: {where}: {first['msg']}. Nothing was imported."
        ) from error
    if export.version > VERSION:
        raise ValueError(
            f"{path} was exported by a newer version of the course (format {export.version}; this one reads "
            f"{VERSION}): update the course first. Nothing was imported."
        )
    return progress.merge([event.event() for event in export.events])
