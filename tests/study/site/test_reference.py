"""The library's reference: every public object once, under its shortest name."""

import importlib

import pytest

import course_lib.losses
from course_lib.study.site.reference import Entry, entries, page, parts


def test_the_parts_are_the_packages_of_the_library():
    found = parts()
    assert {"losses", "nn", "loops", "study", "content"} <= set(found)
    assert found == sorted(found)


@pytest.mark.parametrize("part", ["losses", "loops", "study", "content"])
def test_each_object_can_be_imported_as_documented_and_stands_once(part):
    found = entries(part)
    names = [entry.full_name for entry in found]
    assert len(set(names)) == len(names) > 0
    for entry in found:
        assert getattr(importlib.import_module(entry.module), entry.name) is entry.target
    objects = [id(entry.target) for entry in found if callable(entry.target)]
    assert len(set(objects)) == len(objects)


def test_what_a_package_exports_stands_under_the_package():
    names = {entry.full_name for entry in entries("losses")}
    assert {f"course_lib.losses.{name}" for name in course_lib.losses.__all__} <= names
    assert "course_lib.losses.focal.focal" not in names  # the module that defines it


def test_of_the_study_tools_only_what_notebooks_import_is_public():
    assert {entry.name for entry in entries("study")} == {"cards", "check", "hint", "quiz", "solution"}


def test_a_page_documents_classes_functions_and_constants():
    text = page("losses", entries("losses"))
    assert text.startswith("``course_lib.losses``\n=====================\n")
    assert ".. automodule:: course_lib.losses\n\n.. currentmodule:: course_lib.losses\n" in text
    assert ".. autofunction:: focal\n" in text
    assert ".. autoclass:: UncertaintyWeighting\n   :members:\n" in text
    assert ".. py:data:: Reduction\n   :value: typing.Literal['mean', 'sum', 'none']" in text


def test_a_long_constant_shows_its_type_only():
    assert ".. py:data:: TABLE\n   :type: dict" in page("x", [Entry("course_lib.x", "TABLE", dict.fromkeys(range(99)))])


def test_an_exception_is_documented_as_one():
    assert Entry("course_lib.x", "Stop", RuntimeError).directive == "autoexception"
