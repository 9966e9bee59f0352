"""Reading YAML: every problem is reported, each with the line that it is on and what to do."""

import pytest
from pydantic import BaseModel, ConfigDict

from course_lib.study.material.yaml_files import ContentError, parse, read_yaml


class Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int


class Box(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pairs: list[Pair]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "box.yaml"
        path.write_text(text)
        return path

    return write


def problems(path):
    with pytest.raises(ContentError) as caught:
        parse(read_yaml(path), Box)
    return [(problem.line, problem.text) for problem in caught.value.problems]


def test_a_good_file_is_parsed(write):
    box = parse(read_yaml(write("pairs:\n  - name: a\n    size: 3\n")), Box)
    assert box.pairs == [Pair(name="a", size=3)]


def test_all_problems_are_reported_with_their_lines(write):
    path = write("pairs:\n  - name: 7\n    size: big\n  - nam: b\n    size: 1\nextra: 1\n")
    assert problems(path) == [
        (2, "'name' must be text, got 7; put it in quotes"),
        (3, "'size': input should be a valid integer, unable to parse string as an integer, got 'big'; correct it"),
        (4, "'name' is missing; add it"),
        (4, "unknown key 'nam'; did you mean 'name'?"),
        (6, "unknown key 'extra'; remove it"),
    ]


def test_the_message_names_file_line_and_cure(write):
    path = write("pairs:\n  - size: 1\n")
    with pytest.raises(ContentError) as caught:
        parse(read_yaml(path), Box)
    assert str(caught.value) == f"{path.parent.name}/box.yaml:2: 'name' is missing; add it"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("pairs: []\npairs: []\n", 2, "the key 'pairs' is there twice"),
        ("pairs:\n  - name: a: b\n", 2, "not valid YAML"),
        ("pairs:\n\t- name: a\n", 2, "not valid YAML"),
        ("pairs: &p [1]\nmore: *p\n", 1, "an alias"),
        ("pairs: &p [*p]\n", 1, "an alias"),
        ("? [a, b]\n: 1\n", 1, "a key that is not a word"),
        ("pairs: 2026-13-45\n", 1, "cannot be read"),
        ("pairs: !!python/object/apply:os.getcwd []\n", 1, "a tag (tag:yaml.org,2002:python/object/apply:os.getcwd)"),
    ],
)
def test_what_is_no_plain_data_is_refused(write, text, line, message):
    found = problems(write(text))
    assert found[0][0] == line
    assert message in found[0][1]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ContentError, match=r"gone\.yaml:1: cannot be read"):
        read_yaml(tmp_path / "gone.yaml")


def test_an_empty_file_is_refused_without_a_traceback(write):
    assert problems(write(""))[0][0] == 1


def test_problems_found_by_other_means_come_with_the_others(write):
    document = read_yaml(write("pairs:\n  - name: a\n"))
    with pytest.raises(ContentError) as caught:
        parse(document, Box, also=[document.problem(("pairs", 0, "name"), "is dull; change it")])
    assert [problem.text for problem in caught.value.problems] == ["is dull; change it", "'size' is missing; add it"]
