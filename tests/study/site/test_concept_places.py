"""Where concepts live: sections, cards, questions, ties and library names, on the course itself and on small pages."""

import json

import pytest

from course_lib.content import course_root, notebook_paths
from course_lib.study.checks.page import Page
from course_lib.study.material.deck import load_deck, load_glossary, load_plan, load_quiz
from course_lib.study.site.concept_pages import glossary_page, map_page
from course_lib.study.site.concept_places import home_section, places
from course_lib.study.site.reference import PACKAGE, entries, parts

NUMBERS = ("03", "05")


@pytest.fixture(scope="module")
def found():
    paths = notebook_paths()
    pages = {number: Page.read(paths[number]) for number in NUMBERS}
    decks, quizzes = ({number: load(number) for number in NUMBERS} for load in (load_deck, load_quiz))
    documented = [entry for part in ("losses", "loops", "optim") for entry in entries(part)]
    return {p.concept.id: p for p in places(load_glossary(), pages, decks, quizzes, documented)}


def test_every_concept_has_a_place(found):
    assert list(found) == [concept.id for concept in load_glossary().concepts]


def test_a_concept_is_tied_to_section_cards_questions_and_library(found):
    place = found["focal-loss"]
    assert place.anchor == "9-rare-classes-weights-and-focal-loss"
    assert place.library[0] == "course_lib.losses.focal"
    cards = [card.id for card in load_deck("03").cards if "focal-loss" in card.concepts]
    questions = [question.id for question in load_quiz("03").questions if "focal-loss" in question.concepts]
    assert list(place.cards) == cards != []
    assert list(place.questions) == questions != []


def test_what_a_concept_names_in_the_library_comes_first(found):
    assert found["gradient-norm"].library[:2] == ("course_lib.loops.gradient_norms", "course_lib.loops.Step")


def test_concepts_name_only_what_the_reference_documents():
    documented = {entry.full_name for part in parts() for entry in entries(part)}
    named = {f"{PACKAGE}.{name}" for concept in load_glossary().concepts for name in concept.library}
    assert len(named) > 40
    assert named <= documented


def test_ties_go_both_ways(found):
    for place in found.values():
        for needed in place.concept.prerequisites:
            assert place.concept.id in found[needed.id].leads_to


def test_a_concept_whose_notebook_is_not_on_the_site_has_no_section(found):
    place = found["generalisation"]
    assert (place.section, place.anchor, place.cards, place.library) == ("", "", (), ())


def test_a_page_that_does_not_define_a_concept_is_not_its_home(tmp_path):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "## 2. Loops\n\nA **training loop** repeats."}]
    path = tmp_path / "05_x.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    concepts = load_glossary().by_id()
    assert home_section(Page.read(path), concepts["training-loop"]) == "2. Loops"
    assert home_section(Page.read(path), concepts["warmup"]) == ""
    assert home_section(None, concepts["warmup"]) == ""


def test_the_glossary_links_what_is_there_and_says_what_is_to_come(found):
    stems = {number: notebook_paths()[number].stem for number in NUMBERS}
    text = glossary_page(list(found.values()), stems)
    entry = text[text.index("\nFocal loss\n") :].split("\n\n")
    assert entry[0].strip().startswith("Focal loss\n  []{#concept-focal-loss}")
    assert "Taught in [03, 9. Rare classes: weights and focal loss](notebooks/03_losses.ipynb#9-rare" in entry[1]
    assert "{py:obj}`course_lib.losses.focal`" in entry[1]
    assert 'href="practice/03.html#03-' in entry[1]
    assert text.count("{#concept-") == len(found)
    assert "Will be taught in notebook 35." in text


def test_the_map_has_every_concept_under_its_notebook(found):
    stems = {number: notebook_paths()[number].stem for number in NUMBERS}
    text = map_page(list(found.values()), load_plan(course_root()), stems)
    assert text.count('<a id="map-') == len(found)
    assert '<h2><a href="notebooks/05_training_loop.html">05 A loop you can trust</a></h2>' in text
    assert '<a id="map-warmup" href="glossary.html#concept-warmup">Warmup</a>' in text
    assert 'href="glossary.html#concept-1f1b" class="course-planned"' in text
