"""Cards in the terminal: the review session, which schedules them, and leafing through a notebook's deck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from course_lib.study.material.schema import Card, Deck
from course_lib.study.memory.progress import Progress
from course_lib.study.memory.review import NEW_A_DAY, plan_session
from course_lib.study.memory.scheduling import RATINGS, Rating, checked_rating, interval
from course_lib.study.terminal.console import Leave, Terminal

_STYLES: dict[Rating, str] = {1: "red", 2: "yellow", 3: "green", 4: "cyan"}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def review_in_terminal(
    terminal: Terminal,
    progress: Progress,
    decks: Mapping[str, Deck],
    *,
    new_a_day: int = NEW_A_DAY,
    clock: Callable[[], datetime] = _utc_now,
) -> int:
    """Review what is due, then some new cards, until nothing is left or the learner leaves.

    Each rating is recorded before the next card is shown, so that at most the card on the screen can be lost.

    Args:
        terminal: Where to show cards and read keys.
        progress: Where ratings go.
        decks: The decks to take cards from, by notebook.
        new_a_day: How many cards to see for the first time in one day.
        clock: Tells the time.

    Returns:
        How many ratings were given.
    """
    console = terminal.console
    session = plan_session(progress, decks, clock(), new_a_day=new_a_day)
    total, rated = len(session), 0
    seen_before = {card.id for card in session.due}
    if total:
        console.print(f"[bold]{len(session.due)} due, {len(session.new)} new.[/bold] Space shows the back, q stops.")
    else:
        console.print("[bold]Nothing is due now.[/bold]")
    try:
        while (card := session.next_card(clock())) is not None:
            _bar(terminal, total - len(session) - 1, total)
            _title(terminal, card, "review" if card.id in seen_before else "new")
            seen_before.add(card.id)
            _show_both_sides(terminal, progress, card, clock())
            pressed = terminal.key("1-4: ", "1234")
            now = clock()
            session.put_back(card, _rate(terminal, progress, card, pressed, now), now)
            rated += 1
    except (Leave, KeyboardInterrupt):
        console.print("\nStopped; every card rated so far is recorded.")
    else:
        if rated:
            _bar(terminal, total, total)
    _outlook(terminal, progress, decks, rated, clock())
    return rated


def leaf_through(terminal: Terminal, progress: Progress, deck: Deck, title: str) -> None:
    """Show all cards of a deck in their order; a card may be rated, which schedules it, or passed over."""
    console = terminal.console
    console.print(
        f"[bold]{len(deck.cards)} cards[/bold] of {title}. Space shows the back and goes on, 1-4 rates, q stops."
    )
    try:
        for number, card in enumerate(deck.cards):
            _bar(terminal, number, len(deck.cards))
            _title(terminal, card, card.level)
            _show_both_sides(terminal, progress, card, _utc_now())
            pressed = terminal.key("1-4, or space for none: ", "1234 ")
            if pressed != " ":
                _rate(terminal, progress, card, pressed, _utc_now())
        console.print("That was the last one.")
    except (Leave, KeyboardInterrupt):
        console.print("\nStopped.")


def _show_both_sides(terminal: Terminal, progress: Progress, card: Card, now: datetime) -> None:
    terminal.markdown(card.front)
    terminal.key("\n[space] ", " ")
    terminal.console.print()
    terminal.markdown(card.back)
    returns = progress.preview(card.id, now)
    keys = (f"[{_STYLES[rating]}]{rating} {RATINGS[rating]}[/] [dim]{returns[rating]}[/dim]" for rating in RATINGS)
    terminal.console.print("\n" + "   ".join(keys))


def _rate(terminal: Terminal, progress: Progress, card: Card, pressed: str, now: datetime) -> datetime:
    """Record the rating and say when the card returns."""
    rating = checked_rating(int(pressed))
    due = progress.record_review(card.id, rating, now=now)
    terminal.console.print(f"{RATINGS[rating]}: returns in {interval(due - now)}.", style=_STYLES[rating])
    return due


def _title(terminal: Terminal, card: Card, kind: str) -> None:
    terminal.console.rule(f"notebook {card.id[:2]} · {kind}", align="left", style="dim")


def _bar(terminal: Terminal, done: int, total: int) -> None:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=max(1, total), completed=done, width=30), f"{done} of {total} done")
    terminal.console.print("\n", row, sep="")


def _outlook(terminal: Terminal, progress: Progress, decks: Mapping[str, Deck], rated: int, now: datetime) -> None:
    known = {card.id for deck in decks.values() for card in deck.cards}
    dues = [due for card_id, due in progress.summary().cards.items() if card_id in known]
    unseen = len(known) - len(dues)
    returning = ", ".join(f"{count} {when}" for when, count in _when(dues, now).items()) or "none yet"
    first = min((due for due in dues if due > now), default=None)
    soonest = f", the next in {interval(first - now)}" if first else ""
    terminal.console.print(f"\n[bold]{rated} rated.[/bold] Cards return: {returning}{soonest}. Not seen yet: {unseen}.")


def _when(dues: Iterable[datetime], now: datetime) -> dict[str, int]:
    """Count cards by when they return, the soonest first."""
    today = now.astimezone().date()
    names = ("now", "later today", "tomorrow", "within a week", "in more than a week")
    counts: Counter[str] = Counter()
    for due in dues:
        days = (due.astimezone().date() - today).days
        counts["now" if due <= now else names[1 if days == 0 else 2 if days == 1 else 3 if days <= 7 else 4]] += 1
    return {name: counts[name] for name in names if counts[name]}
