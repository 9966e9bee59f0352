/* The concept map: what a concept needs, and what builds on it, lights up while it is pointed at or has the focus. */
"use strict";

window.coursePage.panel("map", (map, needs) => {
  const links = new Map(Object.keys(needs).map((id) => [id, document.getElementById(`map-${id}`)]));
  const told = map.querySelector(".course-map-told");
  const built = {};
  for (const [id, needed] of Object.entries(needs)) for (const other of needed) (built[other] ??= []).push(id);

  /** Return all concepts that can be reached from one, itself left out. */
  function reached(from, ties) {
    const found = new Set(), waiting = [...(ties[from] ?? [])];
    while (waiting.length) {
      const id = waiting.pop();
      if (found.has(id)) continue;
      found.add(id);
      waiting.push(...(ties[id] ?? []));
    }
    return found;
  }

  function light(id) {
    const below = reached(id, needs), above = reached(id, built);
    map.classList.add("course-lit");
    for (const [other, link] of links) {
      link.classList.toggle("course-chosen", other === id);
      link.classList.toggle("course-needed", below.has(other));
      link.classList.toggle("course-built", above.has(other));
    }
    const names = (ids) => ids.map((other) => links.get(other).textContent).join(", ") || "nothing";
    told.textContent = `${links.get(id).textContent}: needs ${names(needs[id])}; leads to ${names(built[id] ?? [])}.`;
  }

  function dim() {
    map.classList.remove("course-lit");
    for (const link of links.values()) link.classList.remove("course-chosen", "course-needed", "course-built");
    told.textContent = "";
  }

  for (const [id, link] of links) {
    link.addEventListener("pointerenter", () => light(id));
    link.addEventListener("focus", () => light(id));
    link.addEventListener("pointerleave", dim);
    link.addEventListener("blur", dim);
  }
});
