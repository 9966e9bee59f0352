"""Reading a notebook: sections end where the next heading of their level begins, wherever cells are cut."""

import json

import pytest

from course_lib.study.checks.imports import allowed_imports
from course_lib.study.checks.outputs import alternative_fault
from course_lib.study.checks.page import Page


def _page(tmp_path, *cells):
    kinds = [("markdown", cell) if not cell.startswith(">>>") else ("code", cell[3:]) for cell in cells]
    raw = [{"cell_type": kind, "source": source, "metadata": {}} for kind, source in kinds]
    return Page(tmp_path / "01_x.ipynb", json.dumps({"cells": raw, "metadata": {}}))


def test_a_section_goes_over_cells_and_stops_inside_one(tmp_path):
    page = _page(tmp_path, "# T\n\n## A\n\none", ">>>x = 1", "two\n\n### B\n\nthree\n\n## C\n\nfour")
    a, b, c = page.headings[1:]
    assert page.section(a).split() == ["one", "two", "###", "B", "three"]
    assert page.section(b).split() == ["three"]
    assert page.section(c).split() == ["four"]


def test_a_hash_in_code_is_no_heading(tmp_path):
    page = _page(tmp_path, "## A\n\n```python\n# no heading\n```\n", ">>># neither")
    assert [heading.text for heading in page.headings] == ["A"]


def test_calls_are_found_behind_magics_attributes_and_loops(tmp_path):
    source = '%matplotlib inline\nnotebook.claim("01.a", 1)\nfor x in y:\n    claim("01.b", x)\n    claim(name, 1)'
    assert _page(tmp_path, f">>>{source}").called("claim") == ["01.a", "01.b"]


def test_what_is_no_notebook_is_refused(tmp_path):
    path = tmp_path / "01_x.ipynb"
    for text in ("{", "[]", "{}", '{"cells": [1]}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"notebooks/01_x.ipynb is no readable notebook"):
            Page.read(path)


def test_declared_packages_are_allowed_under_the_name_they_are_imported_by(tmp_path):
    declared = 'dependencies = ["torch>=2"]\noptional-dependencies.learn = ["scikit-learn", "ipykernel>=6"]\n'
    optional = 'optional-dependencies.test = ["pytest"]\n'
    (tmp_path / "pyproject.toml").write_text(f"[project]\n{declared}{optional}", encoding="utf-8")
    allowed = allowed_imports(tmp_path)
    assert {"torch", "sklearn", "IPython", "math", "course_lib"} <= allowed
    assert not {"pytest", "scikit_learn", "transformers"} & allowed


@pytest.mark.parametrize(
    "text",
    [
        "Loss over 400 updates: from 2.3 to 0.1 while training, 0.4 on held-out digits.",
        "Nine digits that the model misreads. Four of them are sevens taken for ones!",
    ],
)
def test_a_sentence_is_an_alternative(text):
    assert alternative_fault(text) is None
