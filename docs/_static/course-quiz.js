/* The quiz: one question at a time, the verdict and its reasons at once; judged as course_lib.study.material.grading does. */
"use strict";

window.courseQuiz = (() => {
  const { el, fill, typeset, conceptLinks, panel, followAddress } = window.coursePage;
  const MARKS = new Map([[true, "✓"], [false, "✗"], [undefined, "○"]]);
  const SAID = new Map([[true, "answered rightly"], [false, "answered wrongly"], [undefined, "not answered yet"]]);

  /** Read a number with a decimal point or as a fraction, followed or not by `unit`; throws an Error that says why not. */
  function parseNumber(text, unit = "") {
    const cleaned = text.trim().replaceAll("\u2212", "-"), number = "[+-]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][+-]?\\d+)?";
    if (cleaned.includes(",")) throw new Error("write a decimal point, as in 0.5, and nothing between thousands.");
    const match = cleaned.match(new RegExp(`^(${number})(?:\\s*/\\s*(${number}))?\\s*(.*)$`));
    if (match === null) throw new Error("expected a number such as 12, 0.5, 1e-3 or 1/4.");
    const [, numerator, denominator, rest] = match, bare = (words) => words.replaceAll(/\s/g, "");
    if (rest && bare(rest) !== bare(unit)) throw new Error(`the answer is asked ${unit ? `in ${unit}` : "without a unit"}.`);
    if (denominator !== undefined && Number(denominator) === 0) throw new Error("that divides by zero.");
    const value = Number(numerator) / Number(denominator ?? 1);
    if (!Number.isFinite(value)) throw new Error("that is too large to be a number here.");
    return value;
  }

  /**
   * Judge an answer: the letter of a choice, all that are right ("A C"), all in order ("C A B"), or a number.
   * Returns {right, html}; throws an Error for what cannot be read, and nothing is recorded then.
   */
  function grade(question, answer) {
    if (question.kind === "numeric") {
      const slack = 1e-9 * Math.max(Math.abs(question.answer), question.tolerance);
      const right = Math.abs(parseNumber(answer, question.unit) - question.answer) <= question.tolerance + slack;
      return { right, html: opening(right, right ? "" : `The answer is ${escaped(question.right)}.`) + question.explain };
    }
    const given = answer.split(" "), expected = question.right.split(" "), right = given.join() === expected.join();
    if (question.kind === "ordering") {
      if (given.length < expected.length) throw new Error(`put all ${expected.length} in order.`);
      const place = given.findIndex((letter, index) => letter !== expected[index]);
      const wrong = `The first wrong place is number ${place + 1}: you put ${given[place]}, ${expected[place]} belongs there.`;
      return { right, html: opening(right, right ? "" : `${wrong} The right order is ${question.right}.`) + question.explain };
    }
    const several = question.kind === "multiple", missed = several ? "was missed" : "is right";
    const line = (letter, verdict) => `<p><strong>${letter}</strong> ${verdict}: ${question.why[letter]}</p>`;
    const chosen = given.map((letter) => line(letter, expected.includes(letter) ? "is right" : "is not right"));
    const others = expected.filter((letter) => !given.includes(letter)).map((letter) => line(letter, missed));
    if (right && !several) return { right, html: `<p><strong>Right.</strong> ${question.why[given[0]]}</p>` };
    return { right, html: opening(right, "") + [...chosen, ...others].join("") };
  }

  const opening = (right, text) => `<p><strong>${right ? "Right." : "Not quite."}</strong> ${text}</p>`;
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

  function makeQuiz(host, data) {
    const { questions, number, concepts } = data, results = new Map();
    const known = window.courseProgress.answered();
    for (const { id } of questions) if (known.has(id)) results.set(id, known.get(id));
    let index = questions.length - 1, order = [], verdict = null;

    const head = el("div", { class: "course-head" }), feedback = el("div", { class: "course-feedback", role: "status" });
    const asked = el("div", { id: `quiz-${number}-prompt` }), rows = el("div", { class: "course-rows" });
    const main = el("button", { class: "course-main" });
    const button = (text, go) => el("button", { type: "button", text, onclick: go });
    const again = button("Try again", () => show(index, true)), skip = button("Skip", () => show(next(), true));
    const back = button("Previous", () => show((index + questions.length - 1) % questions.length, true));
    const form = el("form", { autocomplete: "off", onsubmit: submit }, asked, rows, el("div", { class: "course-actions" }, main, again, skip, back));
    fill(host, el("section", { class: "course-study", "aria-label": `Quiz ${number}` }, head, form, feedback));

    /** Return the next question that was not answered rightly, going round; the first if there is none. */
    function next() {
      const following = questions.map((_, offset) => (index + 1 + offset) % questions.length);
      return following.find((place) => !results.get(questions[place].id)) ?? 0;
    }

    function show(place, focus = false) {
      [index, order, verdict] = [place, [], null];
      const question = questions[index];
      fill(asked, el("div", { html: question.prompt }));
      fill(rows, ...rowsOf(question));
      const kind = question.kind === "single" || question.kind === "output" ? "radiogroup" : "group";
      rows.setAttribute("role", kind);
      rows.setAttribute("aria-labelledby", asked.id);
      fill(feedback);
      refresh();
      typeset(form);
      if (focus) rows.querySelector("input, button").focus();
    }

    function rowsOf(question) {
      if (question.kind === "numeric") {
        const entry = el("input", { type: "text", inputmode: "decimal", name: "answer", placeholder: "number", "aria-label": "Your answer" });
        return [el("p", { class: "course-number" }, entry, " ", question.unit)];
      }
      return Object.entries(question.rows).map(([letter, html]) => {
        const text = el("span", { class: "course-text", html }), mark = el("span", { class: "course-letter" });
        if (question.kind === "ordering") {
          const press = () => { order = order.includes(letter) ? order.filter((other) => other !== letter) : [...order, letter]; refresh(); };
          return el("button", { type: "button", class: "course-row", "data-letter": letter, onclick: press }, mark, text);
        }
        const type = question.kind === "multiple" ? "checkbox" : "radio";
        const input = el("input", { type, name: "answer", value: letter, onchange: refresh });
        return el("label", { class: "course-row", "data-letter": letter }, input, mark, text);
      });
    }

    function answer() {
      const { kind } = questions[index];
      if (kind === "ordering") return order.join(" ");
      if (kind === "numeric") return rows.querySelector("input").value.trim();
      return [...rows.querySelectorAll("input:checked")].map((input) => input.value).join(" ");
    }

    function submit(event) {
      event.preventDefault();
      if (verdict !== null) return show(next(), true);
      const question = questions[index], given = answer();
      try {
        if (!given) throw new Error(question.kind === "numeric" ? "type a number first." : "choose an answer first.");
        verdict = grade(question, given);
      } catch (error) {
        return fill(feedback, el("div", { class: "course-told", text: `Not counted: ${error.message}` }));
      }
      window.courseProgress.recordAnswer(question.id, verdict.right, given);
      results.set(question.id, verdict.right);
      const told = el("div", { class: `course-told ${verdict.right ? "course-is-good" : "course-is-bad"}`, html: verdict.html });
      told.append(conceptLinks(question.concepts, concepts));
      fill(feedback, told, warning(), summary());
      refresh();
      typeset(feedback);
      main.focus();
    }

    function warning() {
      const text = window.courseProgress.warning();
      return text ? el("p", { class: "course-warning", text }) : null;
    }

    /** Say where the learner stands once every question has been answered, and what to look at again. */
    function summary() {
      if (results.size < questions.length) return null;
      const missed = questions.filter(({ id }) => !results.get(id));
      const told = el("div", { class: "course-told" }, el("strong", { text: `All ${questions.length} answered, ${questions.length - missed.length} right.` }));
      if (missed.length) told.append(conceptLinks([...new Set(missed.flatMap((question) => question.concepts))], concepts));
      return told;
    }

    function refresh() {
      const question = questions[index], done = verdict !== null, right = question.right.split(" ");
      const dots = questions.map(({ id }, place) => {
        const label = `Question ${place + 1}, ${SAID.get(results.get(id))}`;
        const here = place === index ? "step" : null;
        return el("button", { type: "button", text: MARKS.get(results.get(id)), title: label, "aria-label": label, "aria-current": here, onclick: () => show(place, true) });
      });
      const place = `question ${index + 1} of ${questions.length} · ${question.level}`;
      fill(head, el("span", {}, el("strong", { text: `Quiz ${number}` }), ` · ${place}`), el("span", { class: "course-marks" }, ...dots));
      for (const row of rows.querySelectorAll(".course-row")) {
        const { letter } = row.dataset, chosen = row.querySelector("input")?.checked ?? order.includes(letter);
        const fits = question.kind === "ordering" ? order.indexOf(letter) === right.indexOf(letter) : right.includes(letter);
        row.classList.toggle("course-chosen", chosen && !done);
        row.classList.toggle("course-right", done && fits);
        row.classList.toggle("course-wrong", done && chosen && !fits);
        const seen = question.kind === "ordering" && order.includes(letter) ? `${order.indexOf(letter) + 1}.` : "";
        const judged = done && question.kind !== "ordering" ? (fits ? "✓ " : chosen ? "✗ " : "") : "";
        row.querySelector(".course-letter").textContent = `${judged}${seen} ${letter}`.trim();
      }
      for (const entry of rows.querySelectorAll("input, button")) entry.disabled = done;
      const allRight = done && questions.every(({ id }) => results.get(id));
      main.textContent = done ? (allRight ? "Start again" : "Next question") : "Check";
      [again.hidden, skip.hidden] = [!done, done];
    }

    show(next());
    followAddress((id) => {
      const place = questions.findIndex((question) => question.id === id);
      if (place < 0) return;
      show(place);
      host.scrollIntoView();
    });
  }

  panel("quiz", makeQuiz);
  return { grade, parseNumber };
})();
