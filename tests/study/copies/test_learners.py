"""Learners' copies on disk: made once, brought up to date, never overwritten, whole after a kill at any moment."""

import json
import os
from pathlib import Path

import pytest

from course_lib.study.copies import copy_store
from course_lib.study.copies import learners as copies
from course_lib.study.copies.merge import CONFLICT_NOTE


class Course:
    """A small course in a temporary folder, and a learner who edits the copies of its notebooks."""

    def __init__(self, root: Path):
        self.root, self.my = root, root / "my"
        (root / "flashcards").mkdir(parents=True)
        (root / "notebooks").mkdir()
        (root / "flashcards" / "concepts.yaml").write_text("[]\n")

    def publish(self, name: str, *sources: str, newline: str = "\n") -> None:
        cell = {"cell_type": "markdown", "metadata": {}}
        cells = [cell | {"id": f"cell-{number}", "source": [source]} for number, source in enumerate(sources)]
        whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        path = self.root / "notebooks" / f"{name}.ipynb"
        path.write_text(json.dumps(whole, indent=1), encoding="utf-8", newline=newline)

    def copy(self, name: str) -> Path:
        return self.my / f"{name}.ipynb"

    def sources(self, name: str) -> list[str]:
        return [cell["source"] for cell in json.loads(self.copy(name).read_text(encoding="utf-8"))["cells"]]

    def write(self, name: str, *sources: str) -> None:
        whole = json.loads(self.copy(name).read_text(encoding="utf-8"))
        for cell, source in zip(whole["cells"], sources, strict=True):
            cell["source"] = source
        self.copy(name).write_text(json.dumps(whole), encoding="utf-8")


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path / "course"))
    monkeypatch.delenv("COURSE_MY", raising=False)
    made = Course(tmp_path / "course")
    made.publish("00_start_here", "# Start", "x = 1")
    made.publish("07_regularization", "# Weights", "lr = 0.1", "train()")
    return made


@pytest.fixture
def started(course):
    copies.prepare()
    return course


def test_prepare_makes_what_is_missing_and_touches_nothing_else(course):
    assert copies.prepare() == [
        f"2 notebooks (00_start_here, 07_regularization) copied to {course.my}, for you to work in."
    ]
    course.write("07_regularization", "# Weights", "lr = 5", "train()")
    course.copy("00_start_here").unlink()
    assert copies.prepare() == [f"1 notebook (00_start_here) copied to {course.my}, for you to work in."]
    assert course.sources("07_regularization") == ["# Weights", "lr = 5", "train()"]
    assert copies.prepare() == []


def test_prepare_says_what_is_new_and_leaves_it_to_update(started):
    started.publish("00_start_here", "# Start again", "x = 1")
    assert "1 notebook (00_start_here) changed in the course: `course update`" in copies.prepare()[0]
    assert started.sources("00_start_here") == ["# Start", "x = 1"]
    copies.update()
    assert copies.prepare() == []


def test_update_merges_keeps_the_old_copy_and_does_nothing_the_second_time(started):
    started.write("07_regularization", "# Weights", "lr = 5  # mine: größer", "train()")
    before = started.copy("07_regularization").read_bytes()
    started.publish("07_regularization", "# Weight decay", "lr = 0.1", "train()", "plot()")
    (done,) = copies.update()
    assert done.ok
    assert started.sources("07_regularization") == ["# Weight decay", "lr = 5  # mine: größer", "train()", "plot()"]
    kept = started.my / ".old" / "07_regularization.1.ipynb"
    assert done.lines == ("07_regularization: brought up to date.", f"Your copy as it was: {kept}")
    assert kept.read_bytes() == before
    after = {path: path.stat().st_mtime_ns for path in started.my.rglob("*")}
    assert copies.update() == []
    assert {path: path.stat().st_mtime_ns for path in started.my.rglob("*")} == after


def test_update_says_where_both_changed_the_same(started):
    started.write("00_start_here", "# Start", "x = 'mine'")
    started.publish("00_start_here", "# Start", "x = 'course'")
    (done,) = copies.update()
    assert started.sources("00_start_here") == ["# Start", CONFLICT_NOTE, "x = 'course'", "x = 'mine'"]
    assert "both versions are there" in done.lines[-1]


def test_an_untouched_copy_needs_no_old_one_and_a_new_notebook_is_copied(started):
    started.publish("00_start_here", "# Start", "x = 2")
    started.publish("08_data", "# Data")
    assert [done.copy.name for done in copies.update()] == ["00_start_here.ipynb", "08_data.ipynb"]
    assert started.sources("00_start_here") == ["# Start", "x = 2"]
    assert started.sources("08_data") == ["# Data"]
    assert not (started.my / ".old").exists()


def test_windows_line_ends_are_no_new_version(started):
    started.publish("00_start_here", "# Start", "x = 1", newline="\r\n")
    assert copies.prepare() == []
    assert copies.update() == []


def test_a_copy_that_cannot_be_read_is_left_alone_and_the_others_are_updated(started):
    started.copy("00_start_here").write_bytes(b'{"cells": [')
    started.publish("00_start_here", "# Start", "x = 2")
    started.publish("07_regularization", "# Weights", "lr = 0.2", "train()")
    broken, _ = copies.update()
    assert not broken.ok
    assert "cannot be read, so it was left alone: it is not valid JSON: line 1" in broken.lines[0]
    assert "course reset 00" in broken.lines[0]
    assert started.copy("00_start_here").read_bytes() == b'{"cells": ['
    assert started.sources("07_regularization") == ["# Weights", "lr = 0.2", "train()"]
    with pytest.raises(ValueError, match="was left alone"):
        copies.diff("00")
    copies.reset("00")
    assert (started.my / ".old" / "00_start_here.1.ipynb").read_bytes() == b'{"cells": ['


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
def test_killed_at_any_write_an_update_loses_nothing_and_can_be_repeated(started, monkeypatch, number, when):
    started.write("07_regularization", "# Weights", "lr = 5", "train()  # mine")
    started.publish("07_regularization", "# Weight decay", "lr = 0.01", "train()")
    started.publish("08_data", "# Data")
    replace, calls = os.replace, []

    def replace_and_die(source, target):
        calls.append(target)
        if len(calls) == number and when == "before":
            raise KeyboardInterrupt  # as good as a kill: nothing catches it
        replace(source, target)
        if len(calls) == number:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copy_store.os, "replace", replace_and_die)
        with pytest.raises(KeyboardInterrupt):
            copies.update()
    assert {"lr = 5", "train()  # mine"} <= set(started.sources("07_regularization"))
    copies.update()
    expected = ["# Weight decay", CONFLICT_NOTE, "lr = 0.01", "lr = 5", "train()  # mine"]
    assert started.sources("07_regularization") == expected
    assert started.sources("08_data") == ["# Data"]
    assert copies.update() == []


def test_an_older_copy_put_back_is_merged_against_what_it_came_from(started):
    """JupyterLab does that too: a notebook that was open during the update is saved over the merged one."""
    started.write("07_regularization", "# Weights", "lr = 5", "train()")
    in_memory = started.copy("07_regularization").read_bytes()
    started.publish("07_regularization", "# Weight decay", "lr = 0.1", "train()")
    copies.update()
    started.copy("07_regularization").write_bytes(in_memory)
    copies.update()
    assert started.sources("07_regularization") == ["# Weight decay", "lr = 5", "train()"]


def test_a_copy_whose_metadata_an_editor_dropped_is_merged_against_the_version_most_like_it(started):
    started.write("07_regularization", "# Weights", "lr = 5", "train()")
    whole = json.loads(started.copy("07_regularization").read_text())
    started.publish("07_regularization", "# Weight decay", "lr = 0.1", "train()", "plot()")
    copies.update()
    started.copy("07_regularization").write_text(json.dumps(whole | {"metadata": {}}))
    copies.update()
    assert started.sources("07_regularization") == ["# Weight decay", "lr = 5", "train()", "plot()"]


def test_without_any_kept_version_both_are_shown(started):
    started.write("00_start_here", "# Start", "x = 'mine'")
    for path in (started.my / ".base").iterdir():
        path.unlink()
    started.publish("00_start_here", "# Start", "x = 'course'")
    (done,) = copies.update()
    assert started.sources("00_start_here") == ["# Start", CONFLICT_NOTE, "x = 'course'", "x = 'mine'"]
    assert "not known what your copy came from" in done.lines[1]
    assert copies.update() == []


def test_a_copy_saved_during_the_update_is_not_overwritten(started, monkeypatch):
    merge = copies.merge_notebooks

    def slow_merge(*notebooks):
        started.write("00_start_here", "# Start", "x = 'saved meanwhile'")
        return merge(*notebooks)

    started.publish("00_start_here", "# Start anew", "x = 1")
    with monkeypatch.context() as patch:
        patch.setattr(copies, "merge_notebooks", slow_merge)
        (done,) = copies.update()
    assert not done.ok
    assert "update again" in done.lines[0]
    copies.update()
    assert started.sources("00_start_here") == ["# Start anew", "x = 'saved meanwhile'"]


def test_a_copy_that_a_program_holds_is_named_and_the_others_are_updated(started, monkeypatch):
    replace = os.replace

    def held(source, target):
        if Path(target) == started.copy("00_start_here"):
            raise PermissionError(13, "Access is denied")
        replace(source, target)

    started.publish("00_start_here", "# Start", "x = 2")
    started.publish("07_regularization", "# Weights", "lr = 0.2", "train()")
    monkeypatch.setattr(copy_store.os, "replace", held)
    refused, fine = copies.update()
    assert (refused.ok, fine.ok) == (False, True)
    assert "Access is denied" in refused.lines[0]
    assert started.sources("00_start_here") == ["# Start", "x = 1"]
    assert not list(started.my.glob(".*.tmp"))


def test_reset_takes_the_courses_version_and_says_where_the_learners_is(started):
    started.write("07_regularization", "# Weights", "lr = 5", "train()")
    started.publish("07_regularization", "# Weights", "lr = 0.01", "train()")
    kept = started.my / ".old" / "07_regularization.1.ipynb"
    copy = started.copy("07_regularization")
    assert copies.reset(7) == [f"{copy} is as the course has it.", f"Your copy as it was: {kept}"]
    assert started.sources("07_regularization") == ["# Weights", "lr = 0.01", "train()"]
    assert "lr = 5" in kept.read_text()
    assert copies.reset(7) == [f"{copy} is as the course has it."]
    assert copies.update() == []


@pytest.mark.parametrize("number", [7, "7", "07", "regularization", "07_regularization", "my/07_regularization.ipynb"])
def test_a_notebook_is_found_by_number_or_name(course, number):
    assert copies.notebook_path(number).name == "07_regularization.ipynb"
    assert copies.copy_path(number) == course.copy("07_regularization")


@pytest.mark.parametrize("call", [copies.notebook_path, copies.reset, copies.diff])
def test_an_unknown_notebook_is_refused_with_the_list_of_those_there_are(started, call):
    with pytest.raises(ValueError, match=r"no notebook '12'.*00_start_here, 07_regularization"):
        call("12")


def test_diff_is_against_the_course_of_today(started):
    assert copies.diff("07") == ""
    started.write("07_regularization", "# Weights", "lr = 5", "train()")
    started.publish("07_regularization", "# Weight decay", "lr = 0.1", "train()")
    assert copies.diff("07").split("\n") == [
        "@@ cell 1 (markdown): changed @@",
        "-# Weight decay",
        "+# Weights",
        "@@ cell 2 (markdown): changed @@",
        "-lr = 0.1",
        "+lr = 5",
    ]


def test_diff_without_a_copy_says_what_makes_one(course):
    with pytest.raises(ValueError, match=r"no copy of 07_regularization yet.*`course lab`"):
        copies.diff("07")


def test_a_damaged_course_notebook_is_named_and_no_copy_is_touched(started):
    before = started.copy("07_regularization").read_bytes()
    (started.root / "notebooks" / "07_regularization.ipynb").write_text("<<<<<<<")
    (done,) = copies.update()
    assert not done.ok
    assert "the course's own" in done.lines[0]
    with pytest.raises(ValueError, match=r"07_regularization.ipynb is damaged: it is not valid JSON"):
        copies.reset("07")
    assert started.copy("07_regularization").read_bytes() == before


def test_where_the_copies_are(course, tmp_path, monkeypatch):
    assert copies.my_folder() == course.my
    monkeypatch.setenv("COURSE_MY", str(tmp_path / "elsewhere"))
    assert copies.my_folder() == tmp_path / "elsewhere"
    copies.prepare()
    assert (tmp_path / "elsewhere" / "00_start_here.ipynb").exists()


def test_copies_of_a_course_inside_a_wheel_are_in_the_current_folder_or_above(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_MY", raising=False)
    monkeypatch.setattr(copies, "course_root", lambda: Path(copies.__file__).resolve().parents[2] / "_course")
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert copies.my_folder() == tmp_path / "work" / "my"
    (tmp_path / "work" / "my" / ".base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    assert copies.my_folder() == tmp_path / "work" / "my"
    monkeypatch.chdir(tmp_path / "work" / "my")
    assert copies.my_folder() == tmp_path / "work" / "my"
