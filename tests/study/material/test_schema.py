"""What cards and questions may not be: each rule broken once in a sound file, and the complaint read."""

import copy

import pytest
import yaml

from course_lib.study.material.deck import load_deck, load_quiz
from course_lib.study.material.yaml_files import ContentError


def break_quiz(course, index, change):
    """Load the sample quiz after ``change`` was made to one question; return the problems' texts."""
    path = course / "quizzes" / "00_start_here.yaml"
    data = yaml.safe_load(path.read_text())
    question = copy.deepcopy(data["questions"][index])
    change(question)
    path.write_text(yaml.safe_dump(data | {"questions": [question]}, sort_keys=False))
    with pytest.raises(ContentError) as caught:
        load_quiz("00", course)
    return [problem.text for problem in caught.value.problems]


SINGLE, MULTIPLE, OUTPUT, NUMERIC, ORDERING = range(5)


def no_right(question):
    for choice in question["choices"]:
        choice["right"] = False


def all_right(question):
    for choice in question["choices"]:
        choice["right"] = True


def same_texts(question):
    for choice in question["choices"]:
        choice["text"] = "the same"


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (SINGLE, no_right, "'choices': no choice is right"),
        (MULTIPLE, no_right, "'choices': no choice is right"),
        (OUTPUT, no_right, "'choices': no choice is right"),
        (SINGLE, all_right, "3 choices are right; leave one"),
        (OUTPUT, all_right, "2 choices are right; leave one"),
        (SINGLE, same_texts, "the same is there more than once"),
        (SINGLE, lambda q: q["choices"][1].pop("why"), "'why' is missing; add it"),
        (SINGLE, lambda q: q["choices"][1].update(why=" "), "'why': is empty; write it"),
        (SINGLE, lambda q: q["choices"][1].update(why="<b>No</b>"), "'why': raw HTML <b>"),
        (SINGLE, lambda q: q["choices"][1].update(text="[x](javascript:x)"), "'text': a script link"),
        (SINGLE, lambda q: q["choices"][1].update(text=0.5), "'text' must be text, got 0.5; put it in quotes"),
        (SINGLE, lambda q: q["choices"][1].update(right="perhaps"), "'right': input should be a valid boolean"),
        (SINGLE, lambda q: q.update(choices=q["choices"][:1]), "'choices': tuple should have at least 2 items"),
        (SINGLE, lambda q: q.update(prompt="<script>"), "'prompt': raw HTML <script>"),
        (SINGLE, lambda q: q.update(concepts=[]), "'concepts': tuple should have at least 1 item"),
        (SINGLE, lambda q: q.update(concepts=["a", "b", "c", "d"]), "'concepts': tuple should have at most 3 items"),
        (SINGLE, lambda q: q.update(concepts=["training", "training"]), "training is there more than once"),
        (SINGLE, lambda q: q.update(concepts=["treining"]), "unknown concept 'treining'"),
        (SINGLE, lambda q: q.update(level="hard"), "'level': input should be 'recall', 'apply', 'predict', 'debug'"),
        (SINGLE, lambda q: q.update(kind="essay"), "'kind' is missing or unknown; write one of 'single', 'multiple'"),
        (SINGLE, lambda q: q.pop("kind"), "'kind' is missing"),
        (SINGLE, lambda q: q.update(levle="x"), "unknown key 'levle'; did you mean 'level'?"),
        (SINGLE, lambda q: q.update(id="00-c-leak"), "must look like 00-q-leak"),
        (SINGLE, lambda q: q.update(id="01-q-leak"), "the id '01-q-leak' must begin with '00'"),
        (OUTPUT, lambda q: q.pop("code"), "'code' is missing; add it"),
        (NUMERIC, lambda q: q.pop("tolerance"), "'tolerance' is missing; add it"),
        (NUMERIC, lambda q: q.update(tolerance=-1), "'tolerance': input should be greater than or equal to 0"),
        (NUMERIC, lambda q: q.pop("unit"), "'unit' is missing; add it"),
        (NUMERIC, lambda q: q.update(answer=float("nan")), "'answer': input should be a finite number"),
        (NUMERIC, lambda q: q.pop("compute"), "'compute' is missing; add it"),
        (ORDERING, lambda q: q.update(items=["a", "b", "a"]), "a is there more than once; keep one"),
        (ORDERING, lambda q: q.pop("explain"), "'explain' is missing; add it"),
    ],
)
def test_a_bad_question_is_refused(course, index, change, message):
    texts = break_quiz(course, index, change)
    assert any(message in text for text in texts), texts


def test_what_a_program_prints_is_shown_as_it_stands(course):
    path = course / "quizzes" / "00_start_here.yaml"
    data = yaml.safe_load(path.read_text())
    data["questions"][OUTPUT]["choices"][1]["text"] = "<class 'int'>"
    path.write_text(yaml.safe_dump(data))
    assert load_quiz("00", course).questions[OUTPUT].choices[1].text == "<class 'int'>"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"front": "<i>x</i>"}, "'front': raw HTML <i>"),
        ({"back": ""}, "'back': is empty"),
        ({"id": "00-q-x"}, "must look like 00-c-train-test"),
        ({"hint": "x"}, "unknown key 'hint'; remove it"),
    ],
)
def test_a_bad_card_is_refused(course, change, message):
    path = course / "flashcards" / "00_start_here.yaml"
    data = yaml.safe_load(path.read_text())
    data["cards"][0] |= change
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ContentError) as caught:
        load_deck("00", course)
    assert message in str(caught.value)
