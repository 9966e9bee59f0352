"""Lists whose first items are the commonest, and the reading of the plain-text tables they come from."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Weighted(Generic[Item]):
    """Items with their probabilities, ready to draw from.

    Args:
        items: What can be drawn; no item twice.
        probabilities: One each, positive, summing to 1.
    """

    items: tuple[Item, ...]
    probabilities: tuple[float, ...]
    logs: tuple[float, ...] = field(init=False)
    position: Mapping[Item, int] = field(init=False)
    entropy: float = field(init=False)
    _cumulative: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "logs", tuple(math.log(p) for p in self.probabilities))
        object.__setattr__(self, "position", {item: index for index, item in enumerate(self.items)})
        object.__setattr__(self, "entropy", -math.fsum(p * math.log(p) for p in self.probabilities))
        object.__setattr__(self, "_cumulative", tuple(accumulate(self.probabilities)))
        if len(self.position) < len(self.items):
            raise ValueError(f"a list has the same item twice: {self.items}.")

    def __len__(self) -> int:
        return len(self.items)

    def pick(self, uniform: float) -> int:
        """Return the position of the item that a number in [0, 1) falls on."""
        return min(bisect.bisect_right(self._cumulative, uniform), len(self.items) - 1)

    def log_prob(self, item: Item) -> float:
        """Return the log probability of ``item``, minus infinity if it is not in the list."""
        position = self.position.get(item)
        return -math.inf if position is None else self.logs[position]


def zipf(items: Iterable[Item], *, steep: bool = False) -> Weighted[Item]:
    """Return ``items``, commonest first, with probabilities that fall as 1 / rank (steep: as 1 / rank ** 1.5).

    Example:
        >>> zipf(["fox", "crab"]).probabilities
        (0.6666666666666666, 0.3333333333333333)
    """
    kept = tuple(items)
    # Division and square root are rounded alike on every machine, a general power is not.
    weights = [1 / (rank * (math.sqrt(rank) if steep else 1)) for rank in range(1, len(kept) + 1)]
    total = math.fsum(weights)
    return Weighted(kept, tuple(weight / total for weight in weights))


def weighted(probabilities: Mapping[Item, float]) -> Weighted[Item]:
    """Return items with the probabilities given."""
    return Weighted(tuple(probabilities), tuple(probabilities.values()))


def items(text: str) -> list[str]:
    r"""Return the items of a semicolon-separated list that may run over several lines.

    Example:
        >>> items("a wren; the\n  kingfisher; an owl")
        ['a wren', 'the kingfisher', 'an owl']
    """
    return [" ".join(item.split()) for item in text.split(";")]


def records(text: str) -> Iterator[dict[str, list[str]]]:
    r"""Yield the records of a table of ``key: item; item`` lines; a record starts where its first key comes again.

    Keys other than the first may repeat within a record: their items are joined.

    Example:
        >>> list(records("who: fox\neats: jam; figs\nwho: owl"))
        [{'who': ['fox'], 'eats': ['jam', 'figs']}, {'who': ['owl']}]
    """
    first, record = "", dict[str, list[str]]()
    for line in text.strip().splitlines():
        if not line:
            continue
        key, _, rest = line.partition(": ")
        first = first or key
        if key == first and record:
            yield record
            record = {}
        record.setdefault(key, []).extend(items(rest))
    yield record


def sections(*texts: str) -> dict[str, Sequence[str]]:
    r"""Return the lines under each ``[heading]``.

    Example:
        >>> sections("[a]\none\ntwo\n\n[b]\nthree")
        {'a': ['one', 'two'], 'b': ['three']}
    """
    found: dict[str, list[str]] = {}
    for line in (line for text in texts for line in text.strip().splitlines() if line):
        if line.startswith("["):
            found[heading := line.strip("[]")] = []
        else:
            found[heading].append(line)
    return dict(found)
