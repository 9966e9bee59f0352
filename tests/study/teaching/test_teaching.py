"""What teachers use: syllabus, checklists, summary, and the handout, in which no answer is left."""

import json

import pytest
import yaml

from course_lib.content import course_root
from course_lib.study.teaching.checklists import CHECKLISTS, checklist
from course_lib.study.teaching.handout import write_handout
from course_lib.study.teaching.syllabus import in_short, syllabus


def test_a_syllabus_is_in_the_order_of_its_path(course):
    entries = syllabus("everything")
    assert [(entry.number, entry.written, entry.reading_minutes, entry.needs) for entry in entries] == [
        ("00", True, 45, ()),
        ("01", True, 45, ("00",)),
        ("02", False, None, ()),
    ]
    with pytest.raises(ValueError, match="There are: quick-tour, everything"):
        syllabus("vision")


def test_the_summary_holds_the_boxes_alone(course):
    assert in_short() == {
        "00 In one sitting": "- Split first.\n- Beat a baseline.",
        "01 Average loss": "Average the loss.",
    }


def test_a_notebook_without_its_box_is_named(course):
    path = course / "notebooks" / "01_risk.ipynb"
    path.write_text(path.read_text().replace("In short", "At length"))
    with pytest.raises(ValueError, match=r'01_risk\.ipynb has no section "In short"'):
        in_short()


def test_checklists_name_notebooks_that_the_course_plans():
    plan = yaml.safe_load((course_root() / "notebooks" / "plan.yaml").read_text())
    planned = {notebook["number"] for notebook in plan["notebooks"]}
    named = {number for items in CHECKLISTS.values() for item in items for number in item.notebooks}
    assert named <= planned
    assert checklist("Fine Tune") == CHECKLISTS["fine-tune"]
    with pytest.raises(ValueError, match="There are: tabular, image-classifier"):
        checklist("chess")


def test_a_handout_holds_no_answer(course, tmp_path):
    written = write_handout(tmp_path / "class")
    assert sorted(written) == [
        "README.md",
        "exercises/00_start_here.py",
        "flashcards/00_start_here.yaml",
        "flashcards/01_risk.yaml",
        "notebooks/00_start_here.ipynb",
        "notebooks/01_risk.ipynb",
        "quizzes/00_start_here.yaml",
    ]
    everything = "".join((tmp_path / "class" / name).read_text() for name in written)
    for answer in (
        "Too good to be true",
        "The secret",
        "Rate times slope",
        "The score to beat",
        "sum(values)",
        "right:",
    ):
        assert answer not in everything
    assert "Adjusting" not in everything  # a card's back


def test_a_handout_keeps_what_is_asked(course, tmp_path):
    write_handout(tmp_path / "class")
    quiz = yaml.safe_load((tmp_path / "class" / "quizzes" / "00_start_here.yaml").read_text())
    leak, parts, printed, step, order = quiz["questions"]
    assert leak["choices"] == {"A": "Luck", "B": "A leak", "C": "A better model"}
    assert set(parts) == {"id", "kind", "level", "prompt", "choices"}
    assert printed["code"] == "print([w - 0.5 for w in (1, 2)])"
    assert set(step) == {"id", "kind", "level", "prompt", "unit"}
    assert set(order["items"].values()) == {"split", "fit", "score"}
    assert list(order["items"].values()) != ["split", "fit", "score"]
    stub = (tmp_path / "class" / "exercises" / "00_start_here.py").read_text()
    assert '"""Return the mean of some numbers."""' in stub
    before = json.loads((course / "notebooks" / "00_start_here.ipynb").read_text())["cells"]
    after = json.loads((tmp_path / "class" / "notebooks" / "00_start_here.ipynb").read_text())["cells"]
    assert [cell["id"] for cell in after] == [cell["id"] for cell in before]
    assert after[2]["outputs"] == before[2]["outputs"]  # a check's output is no answer
    assert after[3]["source"] == "\nAfter it."
    assert after[4]["outputs"] == []


def test_a_handout_overwrites_nothing(course, tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something already"):
        write_handout(tmp_path / "class")
    assert [path.name for path in (tmp_path / "class").iterdir()] == ["mine.txt"]
