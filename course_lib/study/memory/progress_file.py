"""The file that holds a learner's progress: where it is, its tables, and what happens when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

BUSY_SECONDS = 30.0  # how long one process waits for another's transaction
APPLICATION_ID = 0x41495452  # "AITR": tells our files from any other SQLite file

# One entry for each schema version; a file of version n has had the first n applied. Never edit one: add another.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE events (
               id TEXT PRIMARY KEY,          -- random, so that files of two machines can be merged
               kind TEXT NOT NULL CHECK (kind IN ('answer', 'review', 'exercise')),
               subject TEXT NOT NULL,        -- id of the question, card or exercise
               result INTEGER NOT NULL,      -- answer and exercise: 0 or 1; review: the rating, 1 to 4
               answer TEXT,                  -- what was answered, for questions
               at TEXT NOT NULL              -- UTC, as 2026-03-02T09:00:00.000000+00:00: text order is time order
           ) WITHOUT ROWID""",
        "CREATE INDEX events_by_subject ON events (kind, subject, at)",
        # What follows from the reviews, kept so that "what is due?" is one read.
        "CREATE TABLE cards (card_id TEXT PRIMARY KEY, due TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID",
    ),
)


class ProgressError(RuntimeError):
    """The progress file cannot be used; nothing in it was changed."""


class ProgressSetAside(UserWarning):
    """The progress file was damaged: it was renamed, and a new one was begun."""


def progress_path() -> Path:
    """Return where progress is kept: ``COURSE_HOME``, or else the user's data folder."""
    home = os.environ.get("COURSE_HOME")
    if home:
        return Path(home).expanduser() / "progress.db"
    from platformdirs import user_data_path

    return user_data_path("how-ai-models-are-trained", appauthor=False) / "progress.db"


def connect(path: Path) -> sqlite3.Connection:
    """Open the progress file, create it if need be, and bring its tables up to date.

    A damaged file is renamed, with a ``ProgressSetAside`` warning that says where to; a new one is begun. Processes
    that open at the same moment do so one after another, so that two never set aside or migrate at once.

    Raises:
        ProgressError: If the file was written by a newer version of the course, is another program's, or cannot be
            written. It is left as it is.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_suffix(".lock")):
            damage = _damage(path)
            if damage:
                _set_aside(path, damage)
            return _opened(path)
    except (OSError, sqlite3.Error) as error:
        raise ProgressError(
            f"progress cannot be kept in {path}: {error}. Make the folder writable, "
            "or set COURSE_HOME to a folder that is."
        ) from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that the operating system frees when the process is killed: an empty SQLite file's."""
    holder = sqlite3.connect(lock, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        holder.close()


def _connection(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )


def _damage(path: Path, mode: str = "ro") -> str | None:
    """Return what is wrong with the file, or ``None``; reading only, so that a damaged file stays as it is found."""
    if not path.exists():
        return None
    connection = _connection(path, mode)
    try:
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        return None if verdict == "ok" else verdict
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return str(error)
        if error.sqlite_errorname.startswith("SQLITE_READONLY") and mode == "ro":
            return _damage(path, "rw")  # killed while the file was being created: SQLite undoes that by writing
        raise
    finally:
        connection.close()


def _set_aside(path: Path, damage: str) -> None:
    moment = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.stem}.damaged-{moment}{path.suffix}")
    for suffix in (
        "-wal",
        "-shm",
        "",
    ):  # the companions keep the name of their file, so that SQLite's tools can recover it
        companion = Path(f"{path}{suffix}")
        if companion.exists():
            companion.rename(f"{aside}{suffix}")
    warnings.warn(
        f"the progress file was damaged ({damage}) and has been set aside, unchanged, as {aside}. A new one was begun. "
        "If you have an export, bring it back with: course progress import FILE",
        ProgressSetAside,
        stacklevel=4,
    )


def _opened(path: Path) -> sqlite3.Connection:
    connection = _connection(path)
    try:
        _refuse_foreign(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what is recorded survives a power cut, too
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    version = _pragma(connection, "user_version")
    if version > len(MIGRATIONS):
        raise ProgressError(
            f"{path} was written by a newer version of the course (schema {version}; this one knows up to "
            f"{len(MIGRATIONS)}). It was left untouched. Update the course (git pull, then make lab), or set "
            "COURSE_HOME to another folder to begin a separate record."
        )
    has_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    if has_tables and _pragma(connection, "application_id") != APPLICATION_ID:
        raise ProgressError(
            f"{path} is a database of another program. It was left untouched: move it away, "
            "or set COURSE_HOME to another folder."
        )


def _migrate(connection: sqlite3.Connection) -> None:
    version = _pragma(connection, "user_version")
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
