"""The map of the course: written notebooks show their own metadata, the others what is planned."""

import json

import pytest

from course_lib.study.teaching.course_map import BEGIN, END, readme_with_map, render_map, update_readme

PLAN = """
notebooks:
  - {number: "00", slug: start, title: Start here, outcome: Begin., part: A, spine: true}
  - {number: "01", slug: curves, title: Curves, outcome: Fit a | b., part: A, spine: true}
  - {number: "16", slug: tokens, title: Tokens, outcome: Split text., part: C, spine: false}
parts: {A: Foundations, B: Nothing yet, C: Language}
paths: {}
"""
COURSE = {"number": "00", "title": "Start", "outcome": "Train one.", "reading_minutes": 45, "compute_seconds": 12}
MAP = """\
**A. Foundations**

| | notebook | you will be able to | reading | compute |
| --- | --- | --- | --- | --- |
| 00 | [Start](notebooks/00_start.ipynb) | Train one. | 45 min | 12 s |
| 01 | Curves | Fit a \\| b. | planned | |

**C. Language**

| | notebook | you will be able to | reading | compute |
| --- | --- | --- | --- | --- |
| 16 | Tokens | Split text. | planned | |
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/plan.yaml").write_text(PLAN, encoding="utf-8")
    write_notebook(tmp_path, COURSE)
    return tmp_path


def write_notebook(root, course):
    (root / "notebooks/00_start.ipynb").write_text(json.dumps({"metadata": {"course": course}}), encoding="utf-8")


def test_the_map_links_what_is_written_and_marks_what_is_planned(root):
    assert render_map(root) == MAP


def test_the_readme_keeps_all_but_the_map(root):
    path = root / "README.md"
    path.write_text(f"# Head\n\n{BEGIN}\nold\n{END}\n\ntail\n", encoding="utf-8")
    assert update_readme(root)
    assert path.read_text(encoding="utf-8") == f"# Head\n\n{BEGIN}\n\n{MAP}\n{END}\n\ntail\n"
    assert not update_readme(root)


def test_a_readme_without_marks_is_refused(root):
    with pytest.raises(ValueError, match="map:begin --> and <!-- map:end --> of the map are missing"):
        readme_with_map(f"{END} {BEGIN}", root)


def test_metadata_that_lack_something_are_named(root):
    write_notebook(root, COURSE | {"outcome": ""})
    with pytest.raises(ValueError, match=r"notebooks/00_start.ipynb lacks outcome in metadata.course"):
        render_map(root)
