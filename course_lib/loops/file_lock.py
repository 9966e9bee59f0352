"""Keeping a second process out of a file; the system lets go of the lock when its owner ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO

_NO_LOCKS = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)


def try_lock(file: IO[bytes], *, guards: Path) -> bool:
    """Take ``file`` for this opening alone, or return False if another opening has it.

    Args:
        file: Open for writing, unbuffered or with nothing written yet.
        guards: What the lock keeps others out of: a folder, or the file itself.

    Raises:
        OSError: If the system refuses for another reason than that.

    Warns:
        UserWarning: If the file system has no locks; the answer is True then, and nobody is kept out.
    """
    try:
        _lock(file)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {guards} has no locks: let only one process at a time write there.", stacklevel=4
        )
    return True


if sys.platform == "win32":
    import msvcrt

    _BYTE = 2**40  # one that is never written, so that reading stays possible

    def _lock(file: IO[bytes]) -> None:
        os.lseek(file.fileno(), _BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def unlock(file: IO[bytes]) -> None:
        """Let go of it."""
        os.lseek(file.fileno(), _BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: IO[bytes]) -> None:
        """Let go of it. Closing the file does so too, but not while a forked child has it open."""
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_UN)
