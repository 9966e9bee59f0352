"""Which cards a review session shows, and in which order: due before new, notebooks mixed, a few new ones a day."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, zip_longest

from course_lib.study.material.schema import Card, Deck
from course_lib.study.memory.progress import Progress

SAME_SESSION = timedelta(minutes=20)  # a card that returns sooner is shown again before the session ends
NEW_A_DAY = 20


@dataclass(slots=True)
class Session:
    """The cards of one session: due ones, new ones, and those that come back before it ends."""

    due: list[Card]
    new: list[Card]
    _returning: list[tuple[datetime, str, Card]] = field(default_factory=list)

    def next_card(self, now: datetime) -> Card | None:
        """Take the card to show: one whose time has come again, else a due one, a new one, or the first to return."""
        if self._returning and (self._returning[0][0] <= now or not (self.due or self.new)):
            return heapq.heappop(self._returning)[2]
        waiting = self.due or self.new
        return waiting.pop(0) if waiting else None

    def put_back(self, card: Card, due: datetime, now: datetime) -> None:
        """Keep a card that was rated at ``now`` if it returns within this session."""
        if due - now <= SAME_SESSION:
            heapq.heappush(self._returning, (due, card.id, card))

    def __len__(self) -> int:
        return len(self.due) + len(self.new) + len(self._returning)


def plan_session(progress: Progress, decks: Mapping[str, Deck], now: datetime, *, new_a_day: int) -> Session:
    """Return the session that ``progress`` calls for.

    Due cards come longest overdue first within their notebook, new ones in the order of their deck, as many as are left
    of today's ``new_a_day``; both mixed across notebooks.
    """
    cards = {card.id: card for deck in decks.values() for card in deck.cards}
    due = [cards[card_id] for card_id in progress.due(now, cards)]
    new = [cards[card_id] for card_id in progress.unseen(cards)]
    left_today = max(0, new_a_day - progress.new_today(now))
    return Session(interleaved(due), interleaved(new)[:left_today])


def interleaved(cards: Iterable[Card]) -> list[Card]:
    """Return the cards with their notebooks taking turns, each notebook's in their order.

    Mixed topics feel harder than one at a time, and are remembered longer.

    Reference: Rohrer and Taylor 2007, "The shuffling of mathematics problems improves learning"
    """
    groups: dict[str, list[Card]] = {}
    for card in cards:
        groups.setdefault(card.id[:2], []).append(card)
    turns: Iterable[Sequence[Card | None]] = zip_longest(*(groups[number] for number in sorted(groups)))
    return [card for card in chain.from_iterable(turns) if card is not None]
