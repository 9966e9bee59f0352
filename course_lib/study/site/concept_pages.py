"""The glossary and the concept map: every idea of the course with its definition and its ties."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from course_lib.study.material.schema import Plan
from course_lib.study.site.concept_places import Place
from course_lib.study.site.notebook_pages import raw_html

_GLOSSARY = """# Glossary

Each idea of the course in one sentence, and where to find it: the section that teaches it, what it needs and leads to,
its cards and questions, and what the library has for it. The [concept map](concept-map.md) shows the same ideas in the
order of the course.

:::::{glossary}
:sorted:

"""

_MAP = """# Concept map

Every idea of the course, notebook by notebook. Point at one, or reach it with the Tab key: what it needs lights up with
a line below, what builds on it with a line above. A click leads to the [glossary](glossary.md). Dashed ones are in
notebooks that are planned.

"""


def glossary_page(places: Sequence[Place], stems: Mapping[str, str]) -> str:
    """Return the glossary as MyST Markdown.

    Args:
        places: Every concept's place.
        stems: The notebooks on the site, such as ``{"05": "05_training_loop"}``.
    """
    names = {place.concept.id: place.concept.name for place in places}
    return _GLOSSARY + "\n".join(_entry(place, names, stems) for place in places) + ":::::\n"


def map_page(places: Sequence[Place], plan: Plan, stems: Mapping[str, str]) -> str:
    """Return the concept map as MyST Markdown; without its script it is lists of links."""
    data = {place.concept.id: _ties(place) for place in places}
    script = f'<script type="application/json">{json.dumps(data, separators=(",", ":"))}</script>'
    rows = []
    for notebook in plan.notebooks:
        here = [place for place in places if place.concept.home == notebook.number]
        title = escape(f"{notebook.number} {notebook.title}")
        written = notebook.number in stems
        head = f'<a href="notebooks/{stems[notebook.number]}.html">{title}</a>' if written else f"{title} (planned)"
        chips = "".join(_chip(place, written=written) for place in here)
        rows.append(f"<h2>{head}</h2><ul>{chips}</ul>" if chips else "")
    told = '<p class="course-map-told" role="status"></p>'
    return _MAP + raw_html(f'<div class="course-map" data-course="map">{script}{"".join(rows)}{told}</div>') + "\n"


def _entry(place: Place, names: Mapping[str, str], stems: Mapping[str, str]) -> str:
    concept = place.concept
    lines = [_taught(place, stems)]
    if concept.prerequisites:
        lines.append(f"Needs {_terms([needed.id for needed in concept.prerequisites], names)}.")
    if place.leads_to:
        lines.append(f"Leads to {_terms(place.leads_to, names)}.")
    practice = [*_numbered("card", place.cards), *_numbered("question", place.questions)]
    if practice:
        lines.append(f"Practise: {', '.join(practice)}.")
    if place.library:
        lines.append("In the library: " + ", ".join(f"{{py:obj}}`{name}`" for name in place.library) + ".")
    definition = f"[]{{#concept-{concept.id}}}{' '.join(concept.definition.split())}"
    return f"{concept.name}\n  {definition}\n\n  " + " ".join(lines) + "\n\n"


def _taught(place: Place, stems: Mapping[str, str]) -> str:
    home = place.concept.home
    if not place.section:
        return f"Will be taught in notebook {home}." if home not in stems else f"Taught in notebook {home}."
    return f"Taught in [{home}, {place.section}](notebooks/{stems[home]}.ipynb#{place.anchor})."


def _terms(concepts: Iterable[str], names: Mapping[str, str]) -> str:
    return ", ".join(f"[{names[concept]}](#concept-{concept})" for concept in concepts)


def _numbered(kind: str, items: Sequence[str]) -> list[str]:
    return [f'<a href="practice/{item[:2]}.html#{item}">{kind} {n}</a>' for n, item in enumerate(items, start=1)]


def _chip(place: Place, *, written: bool) -> str:
    concept = place.concept
    planned = "" if written else ' class="course-planned"'
    link = f'<a id="map-{concept.id}" href="glossary.html#concept-{concept.id}"{planned}>{escape(concept.name)}</a>'
    return f"<li>{link}</li>"


def _ties(place: Place) -> list[str]:
    return [needed.id for needed in place.concept.prerequisites]
