"""What a notebook may cost at the ``cpu`` scale, on two cores: seconds and memory."""

from __future__ import annotations

MAX_MEMORY_BYTES = 3 * 2**30
_SECONDS, _LONG_SECONDS = 60, 90
_LONG = ("19", "23", "25", "26", "30", "31")


def compute_budget(number: str) -> int:
    """Return how many seconds notebook ``number`` may take.

    Example:
        >>> compute_budget("00"), compute_budget("19")
        (60, 90)
    """
    return _LONG_SECONDS if number in _LONG else _SECONDS
