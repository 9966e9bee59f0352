/* What a learner did on this site, kept in the browser: the same events, in the same JSON, as `course progress export`. */
"use strict";

window.courseProgress = (() => {
  const FORMAT = "how-ai-models-are-trained/progress", VERSION = 1, KEY = FORMAT;
  const KINDS = { answer: [0, 1], exercise: [0, 1], review: [1, 2, 3, 4] };
  let unsaved = null; // all events, where the browser keeps nothing
  let warning = "";

  /** Return every event in order of time; read anew each time, because other tabs write too. */
  function events() {
    if (unsaved !== null) return unsaved;
    try {
      return JSON.parse(window.localStorage.getItem(KEY) ?? "[]");
    } catch (error) {
      lose(error, []);
      return unsaved;
    }
  }

  function lose(error, known) {
    unsaved = known;
    warning = `Not kept: this browser stores nothing for this page (${error.name}). Export your progress before you leave.`;
  }

  function write(all) {
    all.sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || (a.id < b.id ? -1 : 1));
    if (unsaved !== null) {
      unsaved = all;
      return;
    }
    try {
      window.localStorage.setItem(KEY, JSON.stringify(all));
    } catch (error) {
      lose(error, all);
    }
  }

  function add(kind, subject, result, answer, now) {
    const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    write([...events(), { id, kind, subject, result, answer, at: new Date(now).toISOString() }]);
  }

  const recordAnswer = (question, right, answer) => add("answer", question, Number(right), answer, Date.now());

  /** Record how a card was rated; return when it comes back. */
  function recordReview(card, rating, now = Date.now()) {
    add("review", card, rating, null, now);
    return cards().get(card).due;
  }

  /** Return the state of every card seen so far, by its id. */
  function cards() {
    const reviews = new Map();
    for (const event of events()) {
      if (event.kind !== "review") continue;
      if (!reviews.has(event.subject)) reviews.set(event.subject, []);
      reviews.get(event.subject).push({ rating: event.result, at: Date.parse(event.at) });
    }
    return new Map([...reviews].map(([card, seen]) => [card, window.courseSchedule.replay(seen)]));
  }

  /** Return, for every question answered so far, whether the last answer was right. */
  function answered() {
    return new Map(events().filter((event) => event.kind === "answer").map((event) => [event.subject, event.result === 1]));
  }

  /** Return how many cards were seen for the first time since the local midnight before `now`. */
  function newToday(now) {
    const midnight = new Date(now).setHours(0, 0, 0, 0), first = new Map();
    for (const event of events()) {
      if (event.kind === "review" && !first.has(event.subject)) first.set(event.subject, Date.parse(event.at));
    }
    return [...first.values()].filter((at) => at >= midnight).length;
  }

  function exported() {
    const content = { format: FORMAT, version: VERSION, written: new Date().toISOString(), events: events() };
    return `${JSON.stringify(content, null, 1)}\n`;
  }

  /** Merge an exported file into the record and return how many events were new; nothing is replaced or removed. */
  function merge(text) {
    let file;
    try {
      file = JSON.parse(text);
    } catch (error) {
      throw new Error(`this is no JSON (${error.message}). Nothing was imported.`);
    }
    if (file?.format !== FORMAT || !Array.isArray(file.events)) {
      throw new Error("this is no progress file: choose what this page or `course progress export` wrote. Nothing was imported.");
    }
    if (!(file.version <= VERSION)) throw new Error(`this file has format ${file.version}, this page reads ${VERSION}: it is older.`);
    const faulty = file.events.findIndex((event) => !isEvent(event));
    if (faulty >= 0) throw new Error(`event ${faulty + 1} of this file is not readable. Nothing was imported.`);
    const known = events(), ids = new Set(known.map((event) => event.id));
    const fresh = file.events.filter((event) => !ids.has(event.id) && ids.add(event.id));
    write([...known, ...fresh]);
    return fresh.length;
  }

  function isEvent(event) {
    return (
      /^[0-9a-f]{32}$/.test(event?.id) &&
      Object.hasOwn(KINDS, event.kind) &&
      KINDS[event.kind].includes(event.result) &&
      typeof event.subject === "string" &&
      (event.answer === null || typeof event.answer === "string") &&
      !Number.isNaN(Date.parse(event.at))
    );
  }

  return { recordAnswer, recordReview, cards, answered, newToday, exported, merge, events, warning: () => warning };
})();
