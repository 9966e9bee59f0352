"""Search: every place that holds the words, the best first, with a command that leads to it."""

import json

import pytest

from course_lib.content import notebook_paths
from course_lib.study.teaching.finding import excerpt, find
from course_lib.study.teaching.sections import find_section, sections


def test_concepts_come_first_then_headings_then_text(course):
    hits = find("baseline")
    assert [(hit.where, hit.command) for hit in hits] == [
        ("concept baseline · taught in 00 In one sitting", "course open 00#2.-A-strong-baseline"),
        ("00 In one sitting › 2. A strong baseline", "course open 00#2.-A-strong-baseline"),
        ("00 In one sitting › In short", "course open 00#In-short"),
        ("01 Average loss › Average loss", "course open 01"),
        ("card 00-c-baseline", "course cards 00"),
    ]


def test_every_word_must_be_there_and_side_by_side_is_better(course):
    assert [(hit.rank, hit.where) for hit in find("SCORE to beat")] == [
        (2, "concept baseline · taught in 00 In one sitting"),
        (2, "00 In one sitting › 2. A strong baseline"),
        (2, "card 00-c-baseline"),
    ]
    assert next(hit.where for hit in find("loss average")) == "01 Average loss › Average loss"  # a heading
    assert [hit.rank for hit in find("beat simplest")] == [3, 3]
    assert find("baseline zebra") == []


def test_a_concept_of_a_planned_notebook_is_found_without_a_command(course):
    (hit,) = find("chain rule")
    assert (hit.where, hit.command) == ("concept chain rule · taught in 02 The chain rule", "")


def test_nothing_to_look_for_is_a_mistake(course):
    with pytest.raises(ValueError, match="there is nothing to look for"):
        find("  ")


def test_an_excerpt_is_cut_between_words_and_has_no_markup():
    text = "## Head\n\n- first **point**\n\n```python\ncode = 1\n```\n<details>x</details>\n| a | b |\n|---|---|\n"
    assert excerpt(text, ["first"]) == "Head first **point** x a b"
    assert excerpt("one two three four five", ["three"], width=9) == "… two three …"


def test_sections_run_from_heading_to_heading(course):
    found = sections(notebook_paths()["00"])
    assert [(section.level, section.heading) for section in found] == [
        (1, "In one sitting"),
        (2, "2. A strong baseline"),
        (2, "In short"),
        (2, "Read next"),
    ]  # the comment in fenced code is no heading
    assert found[2].text == "- Split first.\n- Beat a baseline."
    assert [section.cell_id for section in found] == ["title", "base", "short", "short"]


@pytest.mark.parametrize("wanted", ["2.-A-strong-baseline", "strong baseline", "STRONG-base"])
def test_a_section_is_found_by_its_anchor_or_by_words(course, wanted):
    assert find_section(notebook_paths()["00"], wanted).cell_id == "base"


def test_an_unknown_section_is_answered_with_those_there_are(course):
    with pytest.raises(ValueError, match=r"no section 'dropout'. Its sections: 2\. A strong baseline; In short"):
        find_section(notebook_paths()["00"], "dropout")


def test_a_broken_notebook_is_named(course):
    path = notebook_paths()["00"]
    path.write_text(json.dumps({"cells": 1}))
    with pytest.raises(ValueError, match=r"00_start_here\.ipynb cannot be read"):
        sections(path)
