"""Where a number comes from: every constant of this package that was not derived carries its source and date."""

from __future__ import annotations

from dataclasses import dataclass

READ_ON = "2026-11-22"  # when the constants of this package were last compared with what is published


@dataclass(frozen=True, slots=True)
class Source:
    """A publication that states a number.

    Args:
        title: Of the document.
        publisher: Its authors or publisher.
        date: When it was published, as exactly as it says; ``"undated"`` for a page that changes.
        url: Where it is, if it has a lasting address.
        read_on: When the number was last compared with it, or with a later publication that quotes it.

    Example:
        >>> print(Source("Carbon emissions and large neural network training", "Patterson et al.", "2021"))
        Patterson et al., "Carbon emissions and large neural network training" (2021)
    """

    title: str
    publisher: str
    date: str
    url: str = ""
    read_on: str = READ_ON

    def __str__(self) -> str:
        return f'{self.publisher}, "{self.title}" ({self.date})'


@dataclass(frozen=True, slots=True)
class Sourced:
    """A number with its unit and its source.

    Args:
        value: The number.
        unit: In words or symbols, such as ``"g CO2e a kWh"``.
        source: Who says so.
        note: What it leaves out, if that needs saying.
    """

    value: float
    unit: str
    source: Source
    note: str = ""

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.value:,g} {self.unit} ({self.source}{note})"
