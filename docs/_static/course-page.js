/* What the quiz, the cards and the map share: making elements, typesetting maths, starting each panel on the page. */
"use strict";

window.coursePage = (() => {
  const siteRoot = document.documentElement.dataset.content_root ?? "./";
  const makers = new Map();

  /** Make an element; `html` in its attributes is markup from the build, `on...` are listeners, `text` is plain. */
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "html") node.innerHTML = value;
      else if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  /** Replace a node's children, forgetting the maths that stood there. */
  function fill(node, ...children) {
    if (window.MathJax?.typesetClear) window.MathJax.typesetClear([node]);
    node.replaceChildren(...children.filter((child) => child !== null));
  }

  /** Typeset the maths in a node, at once or as soon as MathJax is there. */
  async function typeset(node) {
    if (!node.textContent.includes("$")) return;
    if (!window.MathJax?.startup?.promise) {
      await new Promise((ready) => window.addEventListener("load", ready, { once: true }));
    }
    if (!window.MathJax?.startup?.promise) return; // a page without MathJax shows its source
    await window.MathJax.startup.promise;
    if (node.isConnected) await window.MathJax.typesetPromise([node]);
  }

  /** Return a line of links to the concepts that a card or question is about. */
  function conceptLinks(ids, names) {
    const links = ids.map((id) => el("a", { href: `${siteRoot}glossary.html#concept-${id}`, text: names[id] }));
    return el("p", { class: "course-concepts" }, "About: ", ...links.flatMap((link, index) => (index ? [", ", link] : [link])));
  }

  /** Say once per page kind how `<div data-course="kind">` comes alive; `make(host, data)` fills it. */
  function panel(kind, make) {
    makers.set(kind, make);
  }

  function start() {
    for (const host of document.querySelectorAll("[data-course]")) {
      const data = JSON.parse(host.querySelector("script[type='application/json']").textContent);
      makers.get(host.dataset.course)(host, data);
    }
  }

  /** Call `show(id)` with the id that the address names, now and whenever it changes. */
  function followAddress(show) {
    const go = () => show(decodeURIComponent(window.location.hash.slice(1)));
    window.addEventListener("hashchange", go);
    go();
  }

  document.addEventListener("DOMContentLoaded", start);
  return { el, fill, typeset, conceptLinks, panel, followAddress, siteRoot };
})();

/* Sphinx's search shows excerpts that it fetches, which a browser refuses for pages opened from a file. */
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
