"""Loading content: rules that span items and files, and that a changed file is read again."""

import pytest
import yaml

from course_lib.study.material.deck import (
    all_decks,
    all_quizzes,
    content_problems,
    load_deck,
    load_glossary,
    load_plan,
    load_quiz,
)
from course_lib.study.material.yaml_files import ContentError


def edit(path, change):
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def test_a_sound_course_loads_whole(course):
    assert content_problems(course) == []
    assert [card.id for card in load_deck("00").cards] == ["00-c-training", "00-c-baseline", "00-c-update"]
    assert [question.kind for question in load_quiz("00").questions] == [
        "single",
        "multiple",
        "output",
        "numeric",
        "ordering",
    ]
    assert (list(all_decks()), list(all_quizzes())) == (["00", "01"], ["00"])
    assert load_plan().paths["everything"] == ("00", "01", "02")
    assert load_glossary().by_id()["risk"].home == "01"


def test_an_unknown_notebook_lists_the_known_ones(course):
    with pytest.raises(FileNotFoundError, match=r"flashcards/ has nothing for notebook '07'; it has: 00, 01"):
        load_deck("07")


def test_a_repeated_id_names_the_first_line(course):
    edit(course / "flashcards" / "00_start_here.yaml", lambda data: data["cards"][2].update(id="00-c-training"))
    with pytest.raises(
        ContentError, match=r"00_start_here.yaml:15: the id '00-c-training' is taken in line 3; rename it"
    ):
        load_deck("00")


def test_a_retired_id_is_not_used_again(course):
    edit(course / "quizzes" / "00_start_here.yaml", lambda data: data.update(retired=["00-q-leak"]))
    with pytest.raises(ContentError, match="the id '00-q-leak' is retired; choose a new one"):
        load_quiz("00")


def test_a_file_belongs_to_the_notebook_in_its_name(course):
    edit(course / "flashcards" / "01_risk.yaml", lambda data: data.update(notebook="00"))
    with pytest.raises(ContentError, match=r"01_risk.yaml:1: notebook is '00' in a file named 01_risk.yaml"):
        load_deck("01")


def test_a_number_without_quotes_is_explained(course):
    path = course / "flashcards" / "01_risk.yaml"
    path.write_text(path.read_text().replace("notebook: '01'", "notebook: 01"))
    with pytest.raises(ContentError, match="'notebook' must be text, got 1; put it in quotes"):
        load_deck("01")


def test_problems_of_items_and_of_the_model_come_together(course):
    def change(data):
        data["cards"][0].update(concepts=["nothing"], front="<b>x</b>")
        data["cards"][1].pop("level")

    edit(course / "flashcards" / "00_start_here.yaml", change)
    with pytest.raises(ContentError) as caught:
        load_deck("00")
    assert len(caught.value.problems) == 3


def test_problems_of_all_files_come_together(course):
    edit(course / "flashcards" / "00_start_here.yaml", lambda data: data["cards"][0].pop("back"))
    edit(course / "flashcards" / "01_risk.yaml", lambda data: data["cards"][0].pop("back"))
    edit(course / "quizzes" / "00_start_here.yaml", lambda data: data["questions"][0].pop("level"))
    files = [problem.file for problem in content_problems(course)]
    assert files == ["flashcards/00_start_here.yaml", "flashcards/01_risk.yaml", "quizzes/00_start_here.yaml"]


def test_a_second_file_for_one_notebook_is_refused(course):
    text = (course / "flashcards" / "01_risk.yaml").read_text()
    (course / "flashcards" / "01_other.yaml").write_text(text.replace("01-c-risk", "01-c-other"))
    with pytest.raises(ContentError, match="a second file for notebook 01; merge the two"):
        all_decks()


def test_a_changed_file_is_read_again(course):
    assert load_deck("01").cards[0].back == "The average loss on the data."
    edit(course / "flashcards" / "01_risk.yaml", lambda data: data["cards"][0].update(back="Changed."))
    assert load_deck("01").cards[0].back == "Changed."


def test_a_deck_is_checked_against_a_changed_glossary(course):
    load_deck("01")
    edit(course / "flashcards" / "concepts.yaml", lambda data: data[2].update(id="renamed"))
    with pytest.raises(ContentError, match="unknown concept 'risk'"):
        load_deck("01")
