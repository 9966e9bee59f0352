"""What differs between two notebooks, as a person reads it: sources cell by cell, no outputs, no JSON."""

from __future__ import annotations

from difflib import SequenceMatcher

from course_lib.study.copies.merge import merge_order
from course_lib.study.copies.notebook_cells import Notebook, name_cells


def diff_notebooks(course: Notebook, mine: Notebook) -> str:
    """Return what turns the course's notebook into the learner's, cell by cell; ``""`` if their texts are the same.

    Each cell that differs has a heading ``@@ ... @@`` that numbers it as the notebook shows it, then
    lines that begin with ``-`` (the course's), ``+`` (the learner's) or a space (both); left-out
    stretches are ``...``. Cells that only changed their place are not shown.

    Example:
        >>> def notebook(text):
        ...     return {"cells": [{"id": "a", "cell_type": "code", "source": text}]}
        >>> print(diff_notebooks(notebook("x = 1"), notebook("x = 2")))
        @@ cell 1 (code): changed @@
        -x = 1
        +x = 2
    """
    course_cells = name_cells(course["cells"], {})
    my_cells = name_cells(mine["cells"], course_cells)
    course_numbers = {key: number for number, key in enumerate(course_cells, start=1)}
    my_numbers = {key: number for number, key in enumerate(my_cells, start=1)}
    lines: list[str] = []
    for key in merge_order(course_cells, my_cells, course_cells, keep=[*course_cells, *my_cells]):
        theirs, ours = course_cells.get(key), my_cells.get(key)
        if ours is None:
            what = f"cell {course_numbers[key]} of the course ({course_cells[key]['cell_type']}): not in your copy"
        elif theirs is None:
            what = f"cell {my_numbers[key]} ({ours['cell_type']}): only in your copy"
        elif theirs["cell_type"] != ours["cell_type"]:
            what = f"cell {my_numbers[key]} ({theirs['cell_type']}, in your copy {ours['cell_type']}): changed"
        elif theirs["source"] != ours["source"]:
            what = f"cell {my_numbers[key]} ({ours['cell_type']}): changed"
        else:
            continue
        before = theirs["source"].split("\n") if theirs else []
        after = ours["source"].split("\n") if ours else []
        lines += [f"@@ {what} @@", *_changed_lines(before, after)]
    return "\n".join(lines)


def _changed_lines(before: list[str], after: list[str]) -> list[str]:
    if before == after:
        return []
    lines, shown = [], 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes():
        lines += ["..."] if group[0][1] > shown else []
        for kind, start, end, my_start, my_end in group:
            if kind == "equal":
                lines += [f" {line}" for line in before[start:end]]
            else:
                lines += [f"-{line}" for line in before[start:end]] + [f"+{line}" for line in after[my_start:my_end]]
        shown = group[-1][2]
    return [*lines, *(["..."] if shown < len(before) else [])]
