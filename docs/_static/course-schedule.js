/* When a card comes back: FSRS, as course_lib.study.memory.scheduling computes it. A test holds both to the same dates. */
"use strict";

window.courseSchedule = (() => {
  const LEARNING = 1, REVIEW = 2, RELEARNING = 3;
  const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR; // times are milliseconds since 1970
  const settings = () => window.courseSettings.fsrs; // the Python scheduler's own numbers
  const clamped = (value, low, high) => Math.min(Math.max(value, low), high);

  /** Round to a whole number, halves to the even one, as Python does. */
  function rounded(value) {
    const below = Math.floor(value);
    if (value - below !== 0.5) return Math.round(value);
    return below % 2 === 0 ? below : below + 1;
  }

  function initialDifficulty(w, rating) {
    return w[4] - Math.exp(w[5] * (rating - 1)) + 1;
  }

  function nextDifficulty(w, difficulty, rating) {
    const moved = difficulty - (w[6] * (rating - 3) * (10 - difficulty)) / 9;
    return clamped(w[7] * initialDifficulty(w, 4) + (1 - w[7]) * moved, 1, 10);
  }

  function sameDayStability(w, stability, rating) {
    const growth = Math.exp(w[17] * (rating - 3 + w[18])) * stability ** -w[19];
    return Math.max(stability * (rating === 1 ? growth : Math.max(growth, 1)), 0.001);
  }

  function laterStability(w, difficulty, stability, days, rating) {
    const decay = -w[20], factor = 0.9 ** (1 / decay) - 1;
    const recall = (1 + (factor * Math.max(0, days)) / stability) ** decay;
    if (rating === 1) {
      const long = w[11] * difficulty ** -w[12] * ((stability + 1) ** w[13] - 1) * Math.exp((1 - recall) * w[14]);
      return Math.max(Math.min(long, stability / Math.exp(w[17] * w[18])), 0.001);
    }
    const effort = (rating === 2 ? w[15] : 1) * (rating === 4 ? w[16] : 1);
    const growth = Math.exp(w[8]) * (11 - difficulty) * stability ** -w[9] * (Math.exp((1 - recall) * w[10]) - 1);
    return Math.max(stability * (1 + growth * effort), 0.001);
  }

  /** How long a card that lasts `stability` days stays away, until the chance of recalling it has fallen far enough. */
  function awayFor(stability) {
    const { parameters, desired_retention: retention, maximum_interval: longest } = settings();
    const decay = -parameters[20], factor = 0.9 ** (1 / decay) - 1;
    const days = (stability / factor) * (retention ** (1 / decay) - 1);
    return clamped(rounded(days), 1, longest) * DAY;
  }

  /**
   * Return the card's state after it was rated: {state, step, stability, difficulty, due, last}.
   * `state` is what the previous call returned, null for a card never seen; `rating` is 1 again, 2 hard, 3 good, 4 easy.
   */
  function rate(state, rating, now) {
    if (![1, 2, 3, 4].includes(rating)) throw new RangeError(`a rating is 1, 2, 3 or 4, got ${rating}.`);
    const w = settings().parameters;
    const card = { ...(state ?? { state: LEARNING, step: 0 }), last: now };
    if (state === null) {
      card.stability = Math.max(w[rating - 1], 0.001);
      card.difficulty = clamped(initialDifficulty(w, rating), 1, 10);
    } else {
      const days = Math.floor((now - state.last) / DAY);
      card.stability =
        days < 1
          ? sameDayStability(w, state.stability, rating)
          : laterStability(w, state.difficulty, state.stability, days, rating);
      card.difficulty = nextDifficulty(w, state.difficulty, rating);
    }
    card.due = now + untilDue(card, rating);
    return card;
  }

  /** Move the card along its short steps, or let it go for days; return how long it stays away. */
  function untilDue(card, rating) {
    if (card.state === REVIEW) {
      if (rating > 1 || settings().relearning_steps.length === 0) return awayFor(card.stability);
      [card.state, card.step] = [RELEARNING, 0];
      return settings().relearning_steps[0] * 1000;
    }
    const steps = card.state === LEARNING ? settings().learning_steps : settings().relearning_steps;
    if (steps.length > 0 && rating === 1) {
      card.step = 0;
      return steps[0] * 1000;
    }
    const goesOn = card.step < steps.length && rating < 4 && !(rating === 3 && card.step + 1 === steps.length);
    if (!goesOn) {
      [card.state, card.step] = [REVIEW, null];
      return awayFor(card.stability);
    }
    if (rating === 3) card.step += 1;
    else if (card.step === 0) return (steps.length === 1 ? steps[0] * 1.5 : (steps[0] + steps[1]) / 2) * 1000;
    return steps[card.step] * 1000;
  }

  /** Return the state after all reviews, [{rating, at}] in order of time; null for none. */
  const replay = (reviews) => reviews.reduce((state, { rating, at }) => rate(state, rating, at), null);

  /** Return a time span in milliseconds as a person would say it. */
  function interval(span) {
    const [minutes, hours, days] = [MINUTE, HOUR, DAY].map((unit) => rounded(span / unit));
    if (minutes < 60) return `${Math.max(1, minutes)} min`;
    if (hours < 24) return `${hours} h`;
    if (days < 31) return `${days} day${days > 1 ? "s" : ""}`;
    return days < 365 ? `${(days / 30.44).toFixed(1)} months` : `${(days / 365.25).toFixed(1)} years`;
  }

  return { rate, replay, interval };
})();
