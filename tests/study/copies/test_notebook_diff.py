"""The difference between two notebooks as a person reads it."""

import pytest

from course_lib.study.copies.notebook_diff import diff_notebooks


def notebook(**sources):
    return {"cells": [{"id": name, "cell_type": "code", "source": source} for name, source in sources.items()]}


def test_notebooks_with_the_same_texts_do_not_differ_whatever_their_outputs():
    course, mine = notebook(a="1", b="2"), notebook(a="1", b="2")
    mine["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "run"}]
    assert diff_notebooks(course, mine) == ""


def test_changed_added_and_missing_cells_are_shown_where_they_are():
    mine = notebook(a="1", b="2\nmine", own="new", d="4")
    mine["cells"][3]["cell_type"] = "raw"
    assert diff_notebooks(notebook(a="1", b="2\n-x", c="3", d="4"), mine).split("\n") == [
        "@@ cell 2 (code): changed @@",
        " 2",
        "--x",
        "+mine",
        "@@ cell 3 (code): only in your copy @@",
        "+new",
        "@@ cell 3 of the course (code): not in your copy @@",
        "-3",
        "@@ cell 4 (code, in your copy raw): changed @@",
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (0, ["+mine", " 0", " 1", " 2", "..."]),
        (6, ["...", " 3", " 4", " 5", "+mine", " 6", " 7", " 8", "..."]),
        (12, ["...", " 9", " 10", " 11", "+mine"]),
    ],
)
def test_what_is_the_same_in_a_long_cell_is_left_out(where, expected):
    lines = [str(number) for number in range(12)]
    mine = [*lines[:where], "mine", *lines[where:]]
    shown = diff_notebooks(notebook(a="\n".join(lines)), notebook(a="\n".join(mine)))
    assert shown.split("\n")[1:] == expected


def test_two_changes_far_apart_have_a_gap_between_them():
    lines = [str(number) for number in range(20)]
    mine = ["first", *lines[1:-1], "last"]
    shown = diff_notebooks(notebook(a="\n".join(lines)), notebook(a="\n".join(mine))).split("\n")[1:]
    assert shown == ["-0", "+first", " 1", " 2", " 3", "...", " 16", " 17", " 18", "-19", "+last"]
