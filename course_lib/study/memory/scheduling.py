"""When a card comes back: a thin layer over the ``fsrs`` package, with states that go into a database as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fsrs import Scheduler

Rating = Literal[1, 2, 3, 4]
RATINGS: dict[Rating, str] = {1: "Again", 2: "Hard", 3: "Good", 4: "Easy"}


def checked_rating(rating: int) -> Rating:
    """Return ``rating`` when it is one of the four.

    Raises:
        ValueError: If it is anything else.
    """
    if rating not in RATINGS:
        raise ValueError(f"a rating is 1 (again), 2 (hard), 3 (good) or 4 (easy), got {rating!r}.")
    return rating


def rate(state: str | None, rating: int, now: datetime) -> str:
    """Return the card's state after it was rated.

    FSRS keeps two numbers for a card: how long it lasts in memory (stability) and how hard it is. Each rating
    changes both, and the card returns when the chance of recalling it has fallen to 90 %. No random fuzz is
    added, so the same reviews always give the same state.

    Args:
        state: What the previous call returned; ``None`` for a card never seen.
        rating: 1 again, 2 hard, 3 good, 4 easy.
        now: When it was rated, with a time zone.

    Returns:
        The new state, as JSON; ``due_at`` reads from it when the card returns.

    Raises:
        ValueError: If the rating is not one of the four, or ``now`` has no time zone.

    Example:
        >>> monday = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        >>> interval(due_at(rate(None, 4, monday)) - monday)
        '8 days'

    Reference: Ye, Su and Cao 2022, "A stochastic shortest path algorithm for optimizing spaced repetition scheduling"
    """
    from fsrs import Card
    from fsrs import Rating as FsrsRating

    now = _in_utc(now)
    card = Card(card_id=0, due=now) if state is None else Card.from_json(state)
    card, _ = _scheduler().review_card(card, FsrsRating(checked_rating(rating)), now)
    return card.to_json()


def replay(reviews: Iterable[tuple[int, datetime]]) -> str | None:
    """Return the state after all ``reviews``, pairs of rating and time in order of time; ``None`` for none."""
    state = None
    for rating, at in reviews:
        state = rate(state, rating, at)
    return state


def due_at(state: str) -> datetime:
    """Return when a card in this state comes back."""
    from fsrs import Card

    return Card.from_json(state).due


def preview(state: str | None, now: datetime) -> dict[int, str]:
    """Return for each rating how long the card would stay away, to be shown beside the keys.

    Example:
        >>> preview(None, datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        {1: '1 min', 2: '6 min', 3: '10 min', 4: '8 days'}
    """
    now = _in_utc(now)
    return {rating: interval(due_at(rate(state, rating, now)) - now) for rating in RATINGS}


def interval(span: timedelta) -> str:
    """Return a time span as a person would say it.

    Example:
        >>> [interval(timedelta(minutes=m)) for m in (0, 59.6, 60 * 24, 60 * 24 * 45, 60 * 24 * 730)]
        ['1 min', '1 h', '1 day', '1.5 months', '2.0 years']
    """
    minutes, hours, days = (
        round(span / unit) for unit in (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1))
    )
    if minutes < 60:
        return f"{max(1, minutes)} min"
    if hours < 24:
        return f"{hours} h"
    if days < 31:
        return f"{days} day{'s' if days > 1 else ''}"
    if days < 365:
        return f"{days / 30.44:.1f} months"
    return f"{days / 365.25:.1f} years"


def settings() -> dict[str, Any]:
    """Return the numbers that the schedule follows, so that the website's script can follow the same.

    Example:
        >>> settings()["desired_retention"], settings()["learning_steps"]  # the steps in seconds
        (0.9, [60, 600])
    """
    return dict(_scheduler().to_dict())


def _in_utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"times need a time zone, got {now.isoformat()}; datetime.now(UTC) has one.")
    return now.astimezone(UTC)


@cache
def _scheduler() -> Scheduler:
    from fsrs import Scheduler

    return Scheduler(enable_fuzzing=False)
