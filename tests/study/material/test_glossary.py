"""The rules of glossary and plan, on broken samples; and the course's own, which must be sound and complete."""

import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.material.deck import load_glossary, load_plan
from course_lib.study.material.glossary import find_cycle
from course_lib.study.material.yaml_files import ContentError

REPOSITORY = Path(__file__).parents[3]


def complaint(course, file, change):
    data = yaml.safe_load((course / file).read_text())
    change(data)
    (course / file).write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(ContentError) as caught:
        load_glossary(course)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[1].update(id="training"), "the id 'training' is taken in line 1"),
        (lambda c: c[1].update(name="Training"), "the name 'Training' is taken in line 2"),
        (lambda c: c[0].update(home="77"), "notebook '77' is not in notebooks/plan.yaml"),
        (lambda c: c[0].update(prerequisites=["nothing"]), "'training' needs 'nothing', which is no concept"),
        (lambda c: c[0].update(prerequisites=["risk"]), "'training' (00) needs 'risk', taught later (01)"),
        (lambda c: c[0].update(definition="no sentence"), "end it with a full stop"),
        (lambda c: c[0].pop("definition"), "'definition' is missing"),
        (
            lambda c: c[2].update(prerequisites=[{"id": "training", "black_box": True}]),
            "'training' (00) is taught by then; write it without black_box",
        ),
        (
            lambda c: (c[0].update(prerequisites=["baseline"]), c[1].update(prerequisites=["training"])),
            "the prerequisites go in a circle: training -> baseline -> training",
        ),
    ],
)
def test_a_bad_concept_is_refused(course, change, message):
    assert message in complaint(course, "flashcards/concepts.yaml", change)


def test_a_later_prerequisite_may_be_a_black_box(course):
    path = course / "flashcards" / "concepts.yaml"
    data = yaml.safe_load(path.read_text())
    data[0]["prerequisites"] = [{"id": "risk", "black_box": True}]
    data[2]["prerequisites"] = ["training"]  # no circle: the box is opened only later
    path.write_text(yaml.safe_dump(data))
    assert load_glossary(course).by_id()["training"].prerequisites[0].black_box


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["notebooks"][1].update(number="00"), "the number '00' is taken"),
        (lambda p: p["notebooks"].reverse(), "not in order of their numbers"),
        (lambda p: p["notebooks"][0].update(part="G"), "part 'G' is not named under 'parts'"),
        (lambda p: p["paths"].update(odd=["00", "55"]), "'55' is no planned notebook"),
        (lambda p: p["paths"].update(odd=["00", "00"]), "'00' is no planned notebook, or is in the path twice"),
        (lambda p: p["notebooks"][0].update(slug="Start Here"), "must look like scaling_laws"),
    ],
)
def test_a_bad_plan_is_refused(course, change, message):
    assert message in complaint(course, "notebooks/plan.yaml", change)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
@settings(deadline=None, derandomize=True)
def test_a_circle_is_found_exactly_when_there_is_one(pairs):
    edges = {}
    for start, end in pairs:
        edges.setdefault(str(start), []).append(str(end))
    cycle = find_cycle(edges)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(after in edges[before] for before, after in itertools.pairwise(cycle))
    else:  # nodes can then be taken away one by one, each with nothing left to wait for
        left = set(edges)
        while left:
            ready = {node for node in left if not left & set(edges[node])}
            assert ready
            left -= ready


@pytest.fixture(scope="module")
def glossary():
    return load_glossary(REPOSITORY)


def test_the_course_plans_45_notebooks_of_which_22_are_the_spine():
    notebooks = load_plan(REPOSITORY).notebooks
    assert [notebook.number for notebook in notebooks] == [f"{number:02}" for number in range(45)]
    assert sum(notebook.spine for notebook in notebooks) == 22


def test_every_spine_notebook_has_concepts_and_they_stand_in_its_order(glossary):
    homes = [concept.home for concept in glossary.concepts]
    spine = {notebook.number for notebook in load_plan(REPOSITORY).notebooks if notebook.spine}
    assert homes == sorted(homes)
    assert spine <= set(homes)


def test_what_a_notebook_of_a_path_needs_comes_before_it_in_the_path(glossary):
    concepts = glossary.by_id()
    for name, path in load_plan(REPOSITORY).paths.items():
        for place, number in enumerate(path):
            needed = {
                concepts[prerequisite.id].home
                for concept in glossary.concepts
                for prerequisite in concept.prerequisites
                if concept.home == number and not prerequisite.black_box
            }
            assert needed <= set(path[: place + 1]), f"path {name}: notebook {number} needs {needed}"
