"""How much memory a process has needed at most."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory_bytes(pid: int) -> int:
    """Return the largest resident memory a running process has had so far; 0 once it has ended.

    On Linux and Windows the system keeps the peak. On macOS it does not: there the memory of the moment is
    returned, so call it often and take the maximum.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return _from_psutil(pid)
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0  # a process that is ending has no memory any more


def _from_psutil(pid: int) -> int:
    import psutil

    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "peak_wset", memory.rss))
