/* The cards: the front, the answer on request, a rating, and when the card returns; one deck, or all of them mixed. */
"use strict";

window.courseCards = (() => {
  const { el, fill, typeset, conceptLinks, panel, followAddress } = window.coursePage;
  const RATINGS = { 1: "Again", 2: "Hard", 3: "Good", 4: "Easy" };
  const SAME_SESSION = 20 * 60e3; // a card that returns sooner is shown again before the session ends

  /** Return the cards with their notebooks taking turns, each notebook's in their order. */
  function interleaved(cards) {
    const groups = new Map();
    for (const card of cards) groups.set(card.id.slice(0, 2), [...(groups.get(card.id.slice(0, 2)) ?? []), card]);
    const decks = [...groups.keys()].sort().map((number) => groups.get(number)), longest = Math.max(0, ...decks.map((deck) => deck.length));
    return Array.from({ length: longest }, (_, turn) => decks.map((deck) => deck[turn])).flat().filter(Boolean);
  }

  /** Return {due, new}: what is due at `now`, longest overdue first, then cards never seen, at most `newADay` a day. */
  function planned(cards, states, now, newADay = Infinity, newToday = 0) {
    const due = cards.filter(({ id }) => states.get(id)?.due <= now);
    due.sort((a, b) => states.get(a.id).due - states.get(b.id).due || (a.id < b.id ? -1 : 1));
    const unseen = cards.filter(({ id }) => !states.has(id));
    return { due: interleaved(due), new: interleaved(unseen).slice(0, Math.max(0, newADay - newToday)), returning: [] };
  }

  /** Take the card to show: one whose time has come again, else a due one, a new one, or the first to return. */
  function nextCard(session, now) {
    session.returning.sort((a, b) => a.due - b.due || (a.card.id < b.card.id ? -1 : 1));
    const waiting = session.due.length ? session.due : session.new;
    const back = session.returning[0];
    if (back && (back.due <= now || !waiting.length)) return session.returning.shift().card;
    return waiting.shift() ?? null;
  }

  const numLeft = (session) => session.due.length + session.new.length + session.returning.length;

  function makeCards(host, data) {
    const { decks, concepts, new_a_day: newADay } = data, isReview = newADay !== null;
    const progress = window.courseProgress, schedule = window.courseSchedule;
    const title = isReview ? "Review" : `Cards ${decks[0].number}`;
    let cards = decks.flatMap((deck) => deck.cards), session = null, card = null, numRated = 0;

    const head = el("div", { class: "course-head" }), front = el("div", { class: "course-front" });
    const back = el("div", { class: "course-back", role: "status" }), told = el("div", { class: "course-feedback", role: "status" });
    const turn = el("button", { type: "button", class: "course-main", text: "Show answer", onclick: showAnswer });
    const ratings = Object.keys(RATINGS).map((rating) => el("button", { type: "button", text: RATINGS[rating], onclick: () => rate(Number(rating)) }));
    const all = el("button", { type: "button", text: "Go through all cards", onclick: () => begin({ due: [...cards], new: [], returning: [] }) });
    const actions = el("div", { class: "course-actions" }, turn, ...ratings, all);
    const chooser = isReview ? el("p", { class: "course-chooser" }, el("label", {}, "Cards of ", notebookList())) : null;
    fill(host, el("section", { class: "course-study", "aria-label": title }, chooser, head, front, back, actions, told));

    function notebookList() {
      const list = el("select", { onchange: () => choose(list.value) }, el("option", { value: "", text: "all notebooks" }));
      list.append(...decks.map((deck) => el("option", { value: deck.number, text: `${deck.number} ${deck.title}` })));
      return list;
    }

    function choose(number) {
      cards = decks.filter((deck) => !number || deck.number === number).flatMap((deck) => deck.cards);
      plan();
    }

    function plan() {
      const now = Date.now();
      session = planned(cards, progress.cards(), now, newADay ?? Infinity, progress.newToday(now));
      numRated = 0;
      fill(told);
      advance();
    }

    function begin(chosen) {
      [session, numRated] = [chosen, 0];
      fill(told);
      advance();
      turn.focus();
    }

    function advance() {
      const left = numLeft(session);
      show(nextCard(session, Date.now()), left);
    }

    function show(chosen, left) {
      card = chosen;
      fill(front, card ? el("div", { html: card.front }) : el("p", { text: closing() }));
      fill(back);
      const place = card ? `${left} to go` : `${numRated} rated`;
      fill(head, el("span", {}, el("strong", { text: title }), card ? ` · ${card.level}` : ""), el("span", { text: place }));
      [turn.hidden, all.hidden, back.hidden] = [card === null, card !== null, true];
      for (const button of ratings) button.hidden = true;
      typeset(front);
    }

    function showAnswer() {
      const now = Date.now(), state = progress.cards().get(card.id) ?? null;
      [back.hidden, turn.hidden] = [false, true];
      fill(back, el("div", { html: card.back }), conceptLinks(card.concepts, concepts));
      ratings.forEach((button, index) => {
        const away = schedule.interval(schedule.rate(state, index + 1, now).due - now);
        fill(button, RATINGS[index + 1], el("small", { text: ` ${away}` }));
        button.hidden = false;
      });
      typeset(back);
      ratings[2].focus();
    }

    function rate(rating) {
      const now = Date.now(), due = progress.recordReview(card.id, rating, now), warning = progress.warning();
      numRated += 1;
      if (due - now <= SAME_SESSION) session.returning.push({ due, card });
      const said = el("div", { class: "course-told", text: `That card returns in ${schedule.interval(due - now)}.` });
      fill(told, said, warning ? el("p", { class: "course-warning", text: warning }) : null);
      advance();
      (card ? turn : all).focus();
    }

    /** Say when the next card comes, once none is left. */
    function closing() {
      const states = progress.cards(), dues = cards.filter(({ id }) => states.has(id)).map(({ id }) => states.get(id).due);
      if (!dues.length) return "No card is left.";
      return `Nothing is due now. The next card returns in ${schedule.interval(Math.min(...dues) - Date.now())}.`;
    }

    plan();
    if (!isReview) {
      followAddress((id) => {
        const named = cards.find((other) => other.id === id);
        if (!named) return;
        begin({ due: [named], new: [], returning: [] });
        host.scrollIntoView();
      });
    }
  }

  /** Where the learner stands, and taking it elsewhere: in and out of the file that the `course` command reads and writes. */
  function makeStanding(host, data) {
    const progress = window.courseProgress;
    const text = el("p"), told = el("div", { role: "status" });
    const file = el("input", { type: "file", accept: ".json,application/json", class: "course-file", onchange: read, "aria-label": "Progress file to import" });
    const save = el("button", { type: "button", text: "Export progress", onclick: download });
    fill(host, el("section", { class: "course-study", "aria-label": "Your progress" }, text, el("div", { class: "course-actions" }, save, el("label", {}, "Import: ", file)), told));
    tell();

    function tell() {
      const states = progress.cards(), answers = progress.answered(), now = Date.now();
      const due = [...states.values()].filter((state) => state.due <= now).length;
      const right = [...answers.values()].filter(Boolean).length;
      text.textContent = `${states.size} of ${data.num_cards} cards seen, ${due} due now; ${right} of ${data.num_questions} questions answered rightly.`;
    }

    function download() {
      const link = el("a", { href: URL.createObjectURL(new Blob([progress.exported()], { type: "application/json" })), download: "course-progress.json" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }

    async function read() {
      if (!file.files.length) return;
      try {
        const count = progress.merge(await file.files[0].text());
        fill(told, el("p", { text: `${count} new events imported.` }));
        tell();
      } catch (error) {
        fill(told, el("p", { class: "course-warning", text: error.message }));
      }
      file.value = "";
    }
  }

  panel("cards", makeCards);
  panel("standing", makeStanding);
  return { interleaved, planned, nextCard };
})();
