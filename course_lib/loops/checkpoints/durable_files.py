"""Files and folders that are still there after a crash: what was written, renamed or removed reaches the disk."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_lib.loops.file_lock import try_lock, unlock

LOCK = ".lock"
WAIT_SECONDS = 600.0  # for another process that saves into the same folder
_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # what file systems say that lack a feature

# After a crash a file may be empty and a rename undone, unless the file and the folder that names it were synced. On
# macOS a sync hands data to the drive, which may keep it in its cache for a moment.


def make_folder(folder: Path) -> None:
    """Create ``folder`` and the parents it lacks; nothing happens if it is there.

    Raises:
        OSError: If it cannot be created, or is a file.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and sync it."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Sync a file that something else has written."""
    with open(path, "r+b") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync which names a folder holds. On Windows renames are kept by the file system's journal instead."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:  # some network and FUSE file systems sync files only
            raise
    finally:
        os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    """Rename within one folder, atomically, and sync that folder; ``new`` must not be there."""
    os.rename(old, new)
    sync_folder(new.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder of files, and sync the folder it was in."""
    for name in os.listdir(folder):
        os.unlink(folder / name)
    os.rmdir(folder)
    sync_folder(folder.parent)


@contextmanager
def locked(folder: Path, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Keep other processes out of ``folder`` that lock it too. A process that is killed lets go of its lock.

    Raises:
        TimeoutError: If another process keeps the lock for longer than ``wait_seconds``.

    Warns:
        UserWarning: If the file system has no locks; then nobody is kept out.
    """
    with open(folder / LOCK, "ab") as file:
        deadline = time.monotonic() + wait_seconds
        while not try_lock(file, guards=folder):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has been saving into {folder} for {wait_seconds:.0f} s")
            time.sleep(0.02)
        try:
            yield
        finally:
            unlock(file)
