"""The metadata of a notebook: what the map, the `course` command and Jupyter read from it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat.validator import iter_validate

from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Page
from course_lib.study.material.schema import Plan
from course_lib.study.running.budget import compute_budget
from course_lib.study.running.stored_form import as_stored_text

READING_MINUTES = (30, 60)


def check_metadata(page: Page, plan: Plan) -> list[Complaint]:
    """Complain about metadata that is missing, wrong, or says otherwise than notebooks/plan.yaml."""
    return [*_course_entry(page), *_agreement(page, plan)]


def check_form(page: Page) -> list[Complaint]:
    """Complain about a file that is no valid notebook, or whose bytes are not those that storing gives."""
    complaints = list(_cell_ids(page))
    for error in () if complaints else iter_validate(page.raw):  # type: ignore[no-untyped-call]
        message = str(error).strip().splitlines()[0]
        complaints.append(page.complaint(f"it is no valid notebook ({message})", "Open and save it in JupyterLab."))
    if not complaints and as_stored_text(page.raw) != page.text:
        cure = f"Run and store it: course run {page.number} --store."
        complaints.append(page.complaint("the file is not in the form in which notebooks are stored", cure))
    return complaints


def _course_entry(page: Page) -> Iterator[Complaint]:
    kinds: dict[str, tuple[type, ...]] = {
        "number": (str,),
        "title": (str,),
        "outcome": (str,),
        "reading_minutes": (int,),
        "compute_seconds": (int, float),
        "needs": (list,),
    }
    for key, kind in kinds.items():
        value = page.course.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or value == "":
            expected = " or ".join(k.__name__ for k in kind)
            what = f"metadata.course.{key} must be {expected}, got {value!r}"
            yield page.complaint(what, "Set it (JupyterLab: Property Inspector, Notebook Metadata).")
    minutes, seconds = page.course.get("reading_minutes"), page.course.get("compute_seconds")
    if isinstance(minutes, int) and not READING_MINUTES[0] <= minutes <= READING_MINUTES[1]:
        what = f"{minutes} minutes of reading; a notebook takes {READING_MINUTES[0]} to {READING_MINUTES[1]}"
        yield page.complaint(what, "Shorten or split it, or correct metadata.course.reading_minutes.")
    budget = compute_budget(page.number)
    if isinstance(seconds, int | float) and not 0 < seconds <= budget:
        what = f"{seconds} s of compute; the budget is {budget} s"
        yield page.complaint(what, "Compute less live: the rest belongs into results/.")


def _agreement(page: Page, plan: Plan) -> Iterator[Complaint]:
    planned = next((entry for entry in plan.notebooks if entry.number == page.number), None)
    if planned is None:
        yield page.complaint("it is not in notebooks/plan.yaml", "Add it there, or rename the file.")
        return
    if page.path.name != f"{planned.number}_{planned.slug}.ipynb":
        what = f"notebooks/plan.yaml calls it {planned.number}_{planned.slug}.ipynb"
        yield page.complaint(what, "Rename the one or the other.")
    for key, expected in (("number", planned.number), ("title", planned.title), ("outcome", planned.outcome)):
        if isinstance(page.course.get(key), str) and page.course[key] != expected:
            what = f"metadata.course.{key} is {page.course.get(key)!r}, notebooks/plan.yaml says {expected!r}"
            yield page.complaint(what, "Make them agree.")
    needs = page.course.get("needs")
    earlier = [entry.number for entry in plan.notebooks if entry.number < page.number]
    for needed in needs if isinstance(needs, list) else []:
        if needed not in earlier:
            what = f"metadata.course.needs names {needed!r}, which is no earlier notebook"
            yield page.complaint(what, f'Use numbers such as "00", before {page.number}.')


def _cell_ids(page: Page) -> Iterator[Complaint]:
    seen: dict[str, int] = {}
    for cell in page.cells:
        name = cell.raw.get("id")
        if not (isinstance(name, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)):
            yield page.complaint("the cell has no id", "Open and save the notebook in JupyterLab.", cell=cell)
        elif name in seen:
            what = f"the id {name!r} is that of cell {seen[name]} too"
            yield page.complaint(what, "Give it another; a cell keeps its id for good.", cell=cell)
        else:
            seen[name] = cell.position
