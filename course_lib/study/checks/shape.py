"""The shape of a notebook: its length, its share of prose, and the parts every notebook has, in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from course_lib.study.checks import markdown
from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Heading, Page

CELLS = (55, 90)
PROSE_PERCENT = (40, 65)
MAX_CODE_LINES = 25
EXERCISES = (3, 5)
OBJECTIVES = (3, 6)
SUMMARY_LINES = 5

_EMOJI = re.compile("[\U0001f000-\U0001faff\ufe0f]")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_DIFFICULTY = re.compile(r"difficulty \d of 5", re.IGNORECASE)
_MINUTES = re.compile(r"\d+ min", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    pattern: str
    cure: str


PARTS = (
    _Part("objectives", "objective|you will be able", 'Add a heading "Objectives" with three to six of them.'),
    _Part("the question", r"\bquestion\b", 'Add a heading "The question": the puzzle or failure it resolves.'),
    _Part("what goes wrong", "goes wrong", 'Add a heading "What goes wrong", with one way it breaks, produced live.'),
    _Part("at scale", r"\bat scale\b", 'Add a heading "At scale": how the frontier does it, with sources.'),
    _Part("exercises", r"^(?:\W|\d)*exercises\b", 'Add a heading "Exercises" with three to five of them.'),
    _Part("quiz and cards", r"\bquiz\b.*\bcards\b", 'Add a heading "Quiz and cards" with both, live.'),
    _Part("in short", r"\bin short\b", 'Add a heading "In short" with five lines.'),
    _Part("read next", r"\bread next\b", 'Add a heading "Read next" with papers and what to read them for.'),
)


def check_shape(page: Page) -> list[Complaint]:
    """Complain about a notebook's length, and about parts that are missing, misplaced or half filled."""
    places, complaints = _parts_in_order(page)
    return [*_sizes(page), *_title(page), *complaints, *_predictions(page, places), *_contents(page, places)]


def _sizes(page: Page) -> Iterator[Complaint]:
    count = len(page.cells)
    if not CELLS[0] <= count <= CELLS[1]:
        yield page.complaint(f"{count} cells; a notebook has {CELLS[0]} to {CELLS[1]}", "Split or merge steps.")
    percent = 100 * len(page.prose) / max(1, count)
    if not PROSE_PERCENT[0] <= percent <= PROSE_PERCENT[1]:
        what = f"{percent:.0f} % of the cells are prose; {PROSE_PERCENT[0]} to {PROSE_PERCENT[1]} should be"
        yield page.complaint(what, "Explain each step, or let code show more of them.")
    for cell in page.code:
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        if lines > MAX_CODE_LINES:
            what = f"a code cell of {lines} lines, more than {MAX_CODE_LINES}"
            yield page.complaint(what, "Split it, or move what is not the idea into course_lib.", cell=cell)
    for cell in page.cells:
        if emoji := _EMOJI.search(cell.source):
            yield page.complaint(f"an emoji, {emoji.group()}", "Use words.", cell=cell)


def _title(page: Page) -> Iterator[Complaint]:
    titles = [heading for heading in page.headings if heading.level == 1]
    if not page.headings or page.headings[0].position != 1 or page.headings[0].level != 1:
        yield page.complaint("the first cell has no title", "Begin it with '# NN. Title'.")
    elif len(titles) > 1:
        what = f"{len(titles)} headings of the first level"
        yield page.complaint(what, f"Keep the title; write {titles[1].text!r} with '##'.")
    elif str(page.course.get("title", "")) not in titles[0].text:
        what = f"the title {titles[0].text!r} is not the metadata's {page.course.get('title')!r}"
        yield page.complaint(what, "Make them agree.")
    table = _facts_table(page)
    if table is None:
        cure = "After the title add a small table: reading time, compute time on 2 CPU cores, what to know first."
        yield page.complaint("no table of reading and compute time at the top", cure)
        return
    numbers = re.findall(r"\d+(?:\.\d+)?", table)
    for key in ("reading_minutes", "compute_seconds"):
        if str(page.course.get(key)) not in numbers:
            what = f"the table at the top does not show the metadata's {key} ({page.course.get(key)})"
            yield page.complaint(what, "Make them agree.")
    for needed in page.course.get("needs") or ():
        if str(needed) not in numbers:
            yield page.complaint(f"the table at the top does not name notebook {needed}, to know first", "Link to it.")


def _facts_table(page: Page) -> str | None:
    """Return the table with the reading and compute time; it stands before the objectives, in the first three cells."""
    tables = [table for cell in page.cells[:3] if cell.kind == "markdown" for table in markdown.tables(cell.source)]
    return next((table for table in tables if re.search("(?is)reading.*compute", table)), None)


def _parts_in_order(page: Page) -> tuple[dict[str, Heading], list[Complaint]]:
    """Take for each part the first heading that fits below the part before it."""
    places: dict[str, Heading] = {}
    complaints = []
    start = 0
    for part in PARTS:
        fits = [i for i, heading in enumerate(page.headings) if re.search(part.pattern, heading.text, re.IGNORECASE)]
        place = next((i for i in fits if i >= start), None)
        if place is not None:
            places[part.name] = page.headings[place]
            start = place + 1
        elif fits:
            before = list(places)[-1]
            complaints.append(page.complaint(f"the part {part.name!r} is out of order", f"Move it below {before!r}."))
        else:
            complaints.append(page.complaint(f"no part {part.name!r}", part.cure))
    return places, complaints


def _predictions(page: Page, places: dict[str, Heading]) -> Iterator[Complaint]:
    """Each experiment follows a guess: a Markdown cell with "**Predict**", answered by code soon after."""
    guesses = [c for c in page.prose if any(t.lower().startswith("predict") for t in markdown.bold_terms(c.source))]
    first = places["the question"].position if "the question" in places else 0
    last = places["exercises"].position if "exercises" in places else len(page.cells)
    if not any(first <= cell.position < last for cell in guesses):
        cure = 'Before an experiment ask for a guess, in a cell that begins with "**Predict.**".'
        yield page.complaint("no part 'predict' between the question and the exercises", cure)
    for cell in guesses:
        if not any(later.kind == "code" for later in page.cells[cell.position : cell.position + 3]):
            yield page.complaint("a prediction that no code answers", "Let the next cell answer it.", cell=cell)


def _contents(page: Page, places: dict[str, Heading]) -> Iterator[Complaint]:
    contents: tuple[tuple[str, Callable[[str], str | None], str], ...] = (
        ("objectives", _list_of(*OBJECTIVES), "List three to six things that one can be seen to do."),
        ("at scale", _sourced, "Name who did it and when, with a link or a year."),
        ("in short", _list_of(SUMMARY_LINES, SUMMARY_LINES), "Say it in a list of five lines."),
        ("read next", _dated, "Give authors, year, title, and what to read it for."),
    )
    for name, fault_of, cure in contents:
        if name in places and (fault := fault_of(page.section(places[name]))):
            yield page.complaint(f"{places[name].text!r} {fault}", cure)
    if "exercises" in places:
        yield from _exercise_headings(page, places["exercises"])


def _list_of(least: int, most: int) -> Callable[[str], str | None]:
    def fault(section: str) -> str | None:
        count = len(markdown.list_items(section))
        wanted = f"{least} to {most}" if least < most else f"{least}"
        return None if least <= count <= most else f"is a list of {count}, not of {wanted}"

    return fault


def _sourced(section: str) -> str | None:
    return None if markdown.links(section) or _YEAR.search(section) else "names no source"


def _dated(section: str) -> str | None:
    items = markdown.list_items(section)
    undated = [item for item in items if not _YEAR.search(item)]
    if not items:
        return "lists nothing"
    return f"has an entry without a year: {undated[0][:50]!r}" if undated else None


def _exercise_headings(page: Page, start: Heading) -> Iterator[Complaint]:
    first, (last, _) = page.headings.index(start) + 1, page.extent(start)
    exercises = [h for h in page.headings[first:] if h.position <= last and h.level > start.level]
    if not EXERCISES[0] <= len(exercises) <= EXERCISES[1]:
        what = f"{len(exercises)} exercises under {start.text!r}; a notebook has {EXERCISES[0]} to {EXERCISES[1]}"
        yield page.complaint(what, "Give each a heading of its own there.")
    for heading in exercises:
        text = heading.text + page.section(heading)
        if not (_DIFFICULTY.search(text) and _MINUTES.search(text)):
            cure = 'Write "(difficulty 2 of 5, about 10 minutes)".'
            yield page.complaint(f"{heading.text!r} names no difficulty or no minutes", cure)
