"""The files behind the copies: nothing kept is overwritten, leftovers go, a version is found by what it says."""

import json
import os
import time

import pytest

from course_lib.study.copies import copy_store
from course_lib.study.copies.notebook_cells import parse_notebook


@pytest.fixture
def copy(tmp_path):
    return tmp_path / "my" / "07_regularization.ipynb"


def content(*sources):
    cells = [{"cell_type": "raw", "id": source, "metadata": {}, "source": source} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_old_copies_are_numbered_beyond_the_last_even_when_some_are_gone(copy):
    kept = [copy_store.keep_old(copy, b"%d" % number) for number in range(11)]
    kept[3].unlink()
    (copy.parent / ".old" / "07_regularization.notes.ipynb").touch()
    assert [path.name.split(".")[1] for path in kept] == [str(number) for number in range(1, 12)]
    assert copy_store.keep_old(copy, b"next").name == "07_regularization.12.ipynb"
    assert kept[10].read_bytes() == b"10"


def test_a_copy_is_merged_from_the_version_that_it_names(copy):
    versions = [content("a", "b"), content("a", "b", "c")]
    for version in versions:
        copy_store.keep_base(copy, version)
    mine = parse_notebook(versions[1])
    copy_store.set_base_version(mine, copy_store.version_of(versions[0]))
    assert copy_store.find_base(copy, mine) == parse_notebook(versions[0])


def test_a_copy_that_names_none_is_merged_from_the_version_most_like_it_the_oldest_of_equals(copy):
    versions = [content("a"), content("a", "b"), content("a", "b", "c"), content("d")]
    for age, version in enumerate(versions):
        copy_store.keep_base(copy, version)
        path = copy.parent / ".base" / f"{copy.stem}.{copy_store.version_of(version)}.ipynb"
        os.utime(path, (1000 + age, 1000 + age))
    assert copy_store.find_base(copy, parse_notebook(content("b", "a", "mine"))) == parse_notebook(versions[1])
    assert copy_store.find_base(copy, parse_notebook(content("mine"))) is None


def test_a_damaged_version_is_as_good_as_none(copy):
    copy_store.keep_base(copy, b"{")
    mine = parse_notebook(content("a"))
    copy_store.set_base_version(mine, copy_store.version_of(b"{"))
    assert copy_store.find_base(copy, mine) is None


def test_a_failed_write_leaves_the_old_content_and_no_litter(copy, monkeypatch):
    copy_store.write_whole(copy, b"old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copy_store.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        copy_store.write_whole(copy, b"new")
    assert copy.read_bytes() == b"old"
    assert list(copy.parent.iterdir()) == [copy]


def test_leftovers_of_killed_writes_are_swept_once_nobody_can_be_writing_them(copy):
    for folder in (copy.parent, copy.parent / ".base", copy.parent / ".old"):
        folder.mkdir(parents=True)
        stale, young = folder / ".07_regularization.ipynb.ab.tmp", folder / ".07_regularization.ipynb.cd.tmp"
        stale.touch()
        young.touch()
        os.utime(stale, (time.time() - 7200,) * 2)
    own = copy.parent / "notes.tmp"
    own.touch()
    os.utime(own, (0, 0))
    copy_store.sweep(copy.parent)
    assert sorted({path.name for path in copy.parent.rglob("*.tmp")}) == [
        ".07_regularization.ipynb.cd.tmp",
        "notes.tmp",
    ]
