"""Rules about what belongs to a notebook: cards, questions, concepts, exercises, results, and pages made of them."""

import dataclasses
import json

import pytest

from course_lib.study.checks.exercises import check_exercises
from course_lib.study.exercises import load_exercises
from course_lib.study.material.deck import load_deck, load_quiz
from course_lib.study.material.static import deck_html, quiz_html
from course_lib.study.running.stored_form import as_stored_text

LONG = "Yes, and at some length, because it is the right one"


def _question(k, right, wrong):
    def change(course):
        choices = course.quiz["questions"][k]["choices"]
        choices[0]["text"], choices[1]["text"] = right, wrong

    return change


def _long_right_choices(count):
    return lambda course: [_question(k, LONG, "No")(course) for k in range(count)]


def _all(name, **values):
    def change(course):
        for item in course.deck["cards"] if name == "cards" else course.quiz["questions"]:
            item.update(values)

    return change


def _later_concept(course):
    course.concepts[1]["home"] = "01"
    course.cell("Step 3.")["source"] = ["The **later ideas** come now."]


def _carded_and_quizzed(course):
    _later_concept(course)
    for items in (course.deck["cards"], course.quiz["questions"]):
        items[0]["concepts"] = ["later-idea"]


def _defined_where_no_code_is(course):
    _carded_and_quizzed(course)
    course.cell("The **later")["source"] = ["Step."]
    course.cell("## What goes")["source"] = ["## What goes wrong\n", "\n", "The **later idea** diverges."]


def _defined_above_all_headings(course):
    _carded_and_quizzed(course)
    course.cell("The **later")["source"] = ["Step."]
    course.cell("# 01")["source"].append("\n\nThe **later idea** is here.")


def _exercises(old, new):
    def change(course):
        assert old in course.exercises
        course.exercises = course.exercises.replace(old, new)

    return change


RULES = {
    "13 cards": (lambda c: c.deck["cards"].pop(0), "flashcards/01", "13 cards; a notebook has 14 to 24"),
    "9 questions": (lambda c: c.quiz["questions"].pop(0), "quizzes/01", "9 questions; a notebook has 10 to 18"),
    "cards of recall": (_all("cards", level="recall"), "flashcards/01", "0 of 14 cards are above recall"),
    "questions of recall": (_all("questions", level="recall"), "quizzes/01", "0 of 10 questions are above recall"),
    "right is longest": (_long_right_choices(5), "quizzes/01", "the right choice is the longest in 5 of 10 questions"),
    "a concept too early": (
        lambda c: c.deck["cards"][3].update(concepts=["later-idea"]),
        "flashcards/01",
        "01-c-3 is about 'later-idea', which notebook 02 teaches",
    ),
    "an unknown concept": (
        lambda c: c.deck["cards"][3].update(concepts=["gone"]),
        "flashcards/01_curves.yaml:",
        "unknown concept 'gone'",
    ),
    "no code": (_defined_where_no_code_is, "notebooks/01", "the concept 'later-idea' is not used in code"),
    "no section": (_defined_above_all_headings, "notebooks/01", "defined before the first heading"),
    "broken exercises": (_exercises("return 2 * x", "return 2 *"), "exercises/01", "it cannot be loaded (SyntaxError"),
}


@pytest.mark.parametrize("broken", RULES)
def test_a_broken_rule_is_named(course, broken):
    change, where, expected = RULES[broken]
    change(course)
    course.write()
    found = course.complaints()
    assert len(found) == 1, "\n".join(map(str, found))
    assert found[0].where.startswith(where)
    assert expected in str(found[0])
    assert found[0].level == "error"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"wrong": {"a": abs, "b": abs}}, "2 wrong answers; an exercise has 3 or more"),
        ({"hints": ("Think.",)}, "1 hints; an exercise has 2 or more"),
        ({"solution": lambda x: x}, "the solution has no docstring"),
        ({"id": "01.3"}, "exercise 2 has the id '01.3', not '01.2'"),
    ],
)
def test_a_broken_rule_about_exercises_is_named(course, change, expected):
    exercises = list(load_exercises(course.root / "exercises/01_curves.py"))
    exercises[1] = dataclasses.replace(exercises[1], **change)
    (complaint,) = check_exercises(exercises, "exercises/01_curves.py")
    assert complaint.where == f"exercises/01_curves.py, {exercises[1].id}"
    assert complaint.what == expected


def test_four_of_ten_right_choices_may_be_the_longest(course):
    _long_right_choices(4)(course)
    assert course.write().complaints() == []


def test_a_concept_needs_a_definition_a_card_and_a_question(course):
    course.concepts[1]["home"] = "01"
    found = [complaint.what for complaint in course.write().complaints()]
    assert found == [
        "the concept 'later-idea' is not defined",
        "the concept 'later-idea' has no card",
        "the concept 'later-idea' has no question",
    ]


def test_a_plural_in_bold_defines_a_concept(course):
    _carded_and_quizzed(course)
    assert course.write().complaints() == []


def test_code_that_names_a_concept_uses_it(course):
    _defined_where_no_code_is(course)
    course.cell("print(3)")["source"] = ["later_ideas = print(3)"]
    assert course.write().complaints() == []


def test_a_notebook_without_cards_or_questions_is_named(course):
    (course.root / "flashcards/01_curves.yaml").unlink()
    (course.root / "quizzes/01_curves.yaml").unlink()
    found = [complaint.what for complaint in course.complaints()]
    assert found == ["it has no flashcards/01_curves.yaml", "it has no quizzes/01_curves.yaml"]


def test_content_of_a_notebook_that_is_not_written_is_named(course):
    course.put("exercises/02_later.py", "")
    assert [complaint.where for complaint in course.complaints()] == ["exercises/02_later.py"]


def test_an_unreadable_notebook_is_named_and_the_rest_is_checked(course):
    course.put("notebooks/02_later.ipynb", "{")
    found = course.complaints()
    assert found[0].where == "notebooks/02_later.ipynb"
    assert "is no readable notebook" in found[0].what


def test_a_notebook_that_is_not_planned_is_named(course):
    path = course.root / "notebooks/01_curves.ipynb"
    path.with_name("07_other.ipynb").write_bytes(path.read_bytes())
    assert "it is not in notebooks/plan.yaml" in {complaint.what for complaint in course.complaints()}


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("README.md", "Later", "Earlier", "the map of the course is out of date"),
        (
            "README.md",
            "<!-- map:end -->",
            "",
            "the marks <!-- map:begin --> and <!-- map:end -->",
        ),
        ("RESULTS.md", "0.5", "0.6", "it is out of date"),
    ],
)
def test_a_page_that_is_out_of_date_is_named(course, name, old, new, expected):
    path = course.root / name
    course.put(name, path.read_text(encoding="utf-8").replace(old, new))
    (complaint,) = course.complaints()
    assert complaint.where == name
    assert expected in complaint.what


def test_results_whose_code_has_changed_are_a_note(course):
    course.put("results/01_curves.py", "value = 2\n")
    (complaint,) = course.complaints()
    assert (complaint.where, complaint.level) == ("results/01", "note")
    assert "has changed since" in complaint.what


def test_stored_cards_and_questions_that_are_not_those_of_their_files_are_a_note(course):
    pages = quiz_html(load_quiz("01", course.root)), deck_html(load_deck("01", course.root))
    stored = [{"output_type": "display_data", "metadata": {}, "data": {"text/html": page}} for page in pages]
    course.cell("from course_lib.study import cards")["outputs"] = stored
    course.notebook = json.loads(as_stored_text(course.notebook))
    assert course.write().complaints() == []
    course.deck["cards"][3]["back"] = "Other."
    (complaint,) = course.write().complaints()
    assert (complaint.what, complaint.level) == ("the cards stored here are not those of their file", "note")
    course.quiz["questions"][3]["prompt"] = "Is it other?"
    assert [complaint.what.split()[1] for complaint in course.write().complaints()] == ["questions", "cards"]


def test_a_copy_without_pages_at_its_root_is_checked_otherwise(course):
    for name in ("README.md", "RESULTS.md"):
        (course.root / name).unlink()
    assert {complaint.level for complaint in course.complaints()} == {"note"}
