"""Reading notebooks whatever editor saved them, and telling which cell is which."""

import pytest

from course_lib.study.copies.notebook_cells import name_cells, parse_notebook, render_notebook


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"cells": [\n<<<<<<< HEAD\n', "not valid JSON: line 2"),
        (b"", "not valid JSON: line 1"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b'{"worksheets": [], "nbformat": 3}', "not a notebook of format 4"),
        (b'{"nbformat": 4, "cells": [{"source": "x"}]}', "cell 1 has no cell_type"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1]}]}', "source of its cell 1 is not text"),
    ],
)
def test_what_is_no_notebook_is_refused_with_the_reason(content, reason):
    with pytest.raises(ValueError, match=reason):
        parse_notebook(content)


def test_text_of_any_kind_survives_being_read_and_written():
    text = "größer ✓ \ud800 half a character\r"
    whole = {"cells": [{"cell_type": "raw", "metadata": {}, "source": text}], "metadata": {}, "nbformat": 4}
    assert parse_notebook(render_notebook(whole)) == whole
    assert parse_notebook(b"\xef\xbb\xbf" + render_notebook(whole)) == whole


@pytest.mark.parametrize("identity", ["", "two words", "x" * 65, 7.5, ["a"], None])
def test_an_id_that_the_format_forbids_counts_as_none(identity):
    cell = {"cell_type": "raw", "id": identity, "metadata": {}, "source": "x"}
    whole = {"cells": [cell], "metadata": {}, "nbformat": 4}
    assert "id" not in parse_notebook(render_notebook(whole))["cells"][0]


def cell(identity, source):
    return {"cell_type": "raw", "id": identity, "source": source}


def test_a_cell_is_known_by_id_and_text_then_by_text_then_by_id():
    known = {name: cell(name, text) for name, text in {"a": "1", "b": "1", "c": "3", "d": "4"}.items()}
    cells = [cell("c", "edited"), cell("d", "3"), cell("b", "1"), cell("x", "1"), cell("d", "new"), cell("x", "new")]
    assert list(name_cells(cells, known)) == ["c-2", "c", "b", "a", "d", "x"]
