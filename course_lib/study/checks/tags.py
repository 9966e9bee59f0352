"""Cell tags: which outputs are compared when the notebooks are tested, and which cells build the gpu setting."""

from __future__ import annotations

import re
from collections.abc import Iterator

from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Page

STRICT = "nbval-check-output"
GPU_BUILD, GPU_STEP = "gpu-build", "gpu-step"
_MARKER = re.compile(r"#\s*(?:NBVAL|PYTEST_VALIDATE)_\w+")


def check_tags(page: Page) -> list[Complaint]:
    """Complain about tags that nothing reads, and about tests that a page with its code would not get."""
    return [*_unknown(page), *_strict(page), *_gpu(page)]


def uses_setting(page: Page) -> bool:
    """Tell whether a page turns the scale dial, so that it has a gpu setting to be built."""
    return any(re.search(r"\bsetting\(", cell.source) for cell in page.code)


def _unknown(page: Page) -> Iterator[Complaint]:
    known = (STRICT, GPU_BUILD, GPU_STEP)
    for cell in page.cells:
        for tag in cell.tags:
            if tag not in known:
                cure = f"Use one of {', '.join(known)}, or remove it."
                yield page.complaint(f"the tag {tag!r} means nothing here", cure, cell=cell)
    for cell in page.code:
        if marker := _MARKER.search(cell.source):
            cure = f"Tag the cell {STRICT}, or let its output differ; a reader need not see either."
            yield page.complaint(f"the comment {marker.group()!r} steers the tests", cure, cell=cell)


def _strict(page: Page) -> Iterator[Complaint]:
    if not any(STRICT in cell.tags for cell in page.code):
        cure = f"Tag those that are deterministic by nature with {STRICT}."
        yield page.complaint("no cell has its output compared when the notebook is tested", cure)


def _gpu(page: Page) -> Iterator[Complaint]:
    if not uses_setting(page):
        return
    for tag, what in (
        (GPU_BUILD, "imports, setting, shapes of the data, and the model (as 'model')"),
        (GPU_STEP, "one update (its result as 'step', or a 'history')"),
    ):
        if not any(tag in cell.tags for cell in page.code):
            yield page.complaint(f"no cell is tagged {tag}, so the gpu setting is not tested", f"Tag {what}.")
