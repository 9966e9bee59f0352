"""What a check says: where something is wrong, what it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "note"]


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing to mend.

    An ``error`` fails the tests; a ``note`` is worth knowing, but nothing is broken.
    """

    where: str
    what: str
    cure: str
    level: Level = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.cure}"
