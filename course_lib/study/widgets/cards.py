"""The card widget: the front, the answer on request, a rating, and when the card returns."""

from __future__ import annotations

from datetime import UTC, datetime

import ipywidgets as w

from course_lib.study.material.markup import to_html
from course_lib.study.material.schema import Card, Deck
from course_lib.study.memory.review import Session
from course_lib.study.memory.scheduling import RATINGS, interval
from course_lib.study.widgets.record import Recorder
from course_lib.study.widgets.style import page_setup, shown, told, warned


class CardsPanel:
    """The widgets of one deck, in ``box``: first the cards that are due, then those never seen.

    Args:
        deck: The cards.
        recorder: Where ratings go.
    """

    def __init__(self, deck: Deck, recorder: Recorder) -> None:
        self._deck, self._recorder = deck, recorder
        self._card: Card | None = None
        self._num_rated = 0
        self.head, self.front, self.back, self.told = w.HTML(), w.HTMLMath(), w.HTMLMath(), w.HTML()
        self.back.add_class("course-card")
        self.show = w.Button(description="Show answer", button_style="primary")
        self.show.on_click(lambda _: self._show_answer())
        self.ratings = {rating: w.Button(description=name) for rating, name in RATINGS.items()}
        for rating, button in self.ratings.items():
            button.on_click(lambda _, rating=rating: self._rate(rating))
        self.all = w.Button(description="Go through all cards", layout=w.Layout(width="auto"))
        self.all.on_click(lambda _: self._begin(Session(list(deck.cards), [])))
        actions = w.HBox([self.show, *self.ratings.values(), self.all])
        actions.add_class("course-actions")
        setup = w.HTML(page_setup(), layout=w.Layout(display="none"))
        self.box = w.VBox([setup, self.head, self.front, self.back, actions, self.told])
        self.box.add_class("course-study")
        self._session = recorder.session(deck.cards)
        warning = recorder.warning
        self._next()
        self.told.value = warned(warning)

    def _begin(self, session: Session) -> None:
        self._session, self._num_rated = session, 0
        self.told.value = ""
        self._next()
        self.show.focus()

    def _next(self) -> None:
        left = len(self._session)
        self._card = self._session.next_card(datetime.now(UTC))
        self.front.value = to_html(self._card.front) if self._card else self._closing()
        self.back.value = ""
        place = f"{left} to go" if self._card else f"{self._num_rated} rated"
        level = f" &middot; {self._card.level}" if self._card else ""
        title = f"<b>Cards {self._deck.notebook}</b>{level}"
        self.head.value = f'<div class="course-head"><span>{title}</span><span>{place}</span></div>'
        shown(self.show, self._card is not None)
        shown(self.all, self._card is None)
        shown(self.back, False)
        for button in self.ratings.values():
            shown(button, False)

    def _show_answer(self) -> None:
        if self._card is None:
            return
        away = self._recorder.previews(self._card.id)
        self.told.value = warned(self._recorder.warning)
        self.back.value = to_html(self._card.back)
        shown(self.back, True)
        shown(self.show, False)
        for rating, button in self.ratings.items():
            button.description = f"{RATINGS[rating]} ({away[rating]})" if rating in away else RATINGS[rating]
            shown(button, True)
        self.ratings[3].focus()

    def _rate(self, rating: int) -> None:
        card = self._card
        if card is None:
            return
        now = datetime.now(UTC)
        due = self._recorder.review(card.id, rating)
        self._num_rated += 1
        if due is not None:
            self._session.put_back(card, due, now)
            self.told.value = told(f"That card returns in {interval(due - now)}.")
        else:
            self.told.value = warned(self._recorder.warning)
        self._next()
        (self.show if self._card else self.all).focus()

    def _closing(self) -> str:
        """Return what to say when no card is left, with the time of the next one."""
        coming = [at for card_id, at in self._recorder.returns().items() if card_id in {c.id for c in self._deck.cards}]
        if not coming:
            return "<p>No card is left.</p>"
        return f"<p>Nothing is due now. The next card returns in {interval(min(coming) - datetime.now(UTC))}.</p>"
