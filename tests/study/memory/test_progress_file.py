"""The progress file when it cannot be used: damaged, newer, another program's, in a folder that cannot be written."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import warnings

import pytest

from course_lib.study.memory import progress_file
from course_lib.study.memory.progress import Event, Progress
from course_lib.study.memory.progress_file import ProgressError, ProgressSetAside, progress_path


@pytest.fixture
def path(tmp_path):
    """A progress file with 200 answers."""
    path = tmp_path / "progress.db"
    at = "2026-03-02T09:00:00.000000+00:00"
    with Progress.open(path) as progress:
        progress.merge([Event(f"{i:032x}", "answer", f"00-q-{i}", 1, "of some length", at) for i in range(200)])
    return path


def set_aside_beside(path):
    return sorted(path.parent.glob("progress.damaged-*.db"))


def overwrite_middle(content):
    return content[: len(content) // 3] + b"\xff" * (len(content) // 3) + content[2 * len(content) // 3 :]


DAMAGES = pytest.mark.parametrize(
    "damage",
    [lambda content: b"no database at all, " * 300, lambda content: content[: len(content) // 2], overwrite_middle],
    ids=["garbage", "cut", "overwritten"],
)


@DAMAGES
def test_a_damaged_file_is_set_aside_unchanged_and_a_new_one_begun(path, damage):
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    with pytest.warns(ProgressSetAside, match="set aside, unchanged, as .*damaged") as caught:
        new = Progress.open(path)
    with new:
        assert new.summary().answers == 0
        new.record_answer("00-q-a", True, "A")
    (aside,) = set_aside_beside(path)
    assert aside.read_bytes() == broken
    assert str(aside) in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Progress.open(path) as again:  # the new one is sound, and stays
            assert again.summary().answers == 1


def test_a_second_damage_does_not_overwrite_what_was_set_aside_first(path):
    for content in (b"first " * 999, b"second " * 999):
        path.write_bytes(content)
        with pytest.warns(ProgressSetAside):
            Progress.open(path).close()
    assert [aside.read_bytes()[:6] for aside in set_aside_beside(path)] == [b"first ", b"second"]


@DAMAGES
def test_the_write_ahead_log_goes_with_a_damaged_file(path, damage):
    crashed = path.parent / "crashed" / "progress.db"
    crashed.parent.mkdir()
    with Progress.open(path) as progress:
        progress.record_answer("00-q-last", True, "A")
        shutil.copy(path.with_name("progress.db-wal"), crashed.parent)
    log = crashed.with_name("progress.db-wal").read_bytes()
    crashed.write_bytes(damage(path.read_bytes()))
    with pytest.warns(ProgressSetAside):
        Progress.open(crashed).close()
    (aside,) = set_aside_beside(crashed)
    assert aside.read_bytes() == damage(path.read_bytes())
    assert aside.with_name(aside.name + "-wal").read_bytes() == log


def test_of_several_programs_that_find_the_damage_one_sets_it_aside(path):
    path.write_bytes(b"garbage " * 999)
    script = f"from course_lib.study.memory.progress import Progress\nwith Progress.open({str(path)!r}) as p:\n"
    script += "    p.record_answer('00-q-a', True, 'A')"
    openers = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", script]) for _ in range(3)]
    assert [opener.wait() for opener in openers] == [0, 0, 0]
    assert len(set_aside_beside(path)) == 1
    with Progress.open(path) as progress:
        assert progress.summary().answers == 3


def test_a_file_of_a_newer_course_is_refused_and_left_untouched(path):
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ProgressError, match=r"newer version of the course \(schema 99.*Update the course"):
        Progress.open(path)
    assert path.read_bytes() == before
    assert set_aside_beside(path) == []


def test_a_database_of_another_program_is_refused_and_left_untouched(tmp_path):
    path = tmp_path / "progress.db"
    with contextlib.closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(ProgressError, match="another program"):
        Progress.open(path)
    assert path.read_bytes() == before


def test_an_older_file_is_brought_up_to_date_and_keeps_all(path, monkeypatch):
    added = ("ALTER TABLE events ADD COLUMN note TEXT",)
    monkeypatch.setattr(progress_file, "MIGRATIONS", (*progress_file.MIGRATIONS, added))
    with Progress.open(path) as progress:
        assert progress.summary().answers == 200
        assert progress._connection.execute("SELECT count(note) FROM events").fetchone() == (0,)
        assert progress._connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_half_way_changes_nothing(path, monkeypatch):
    failing = ("ALTER TABLE events ADD COLUMN note TEXT", "this is no SQL")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(progress_file, "MIGRATIONS", (*progress_file.MIGRATIONS, failing))
        with pytest.raises(ProgressError, match="syntax error"):
            Progress.open(path)
    assert path.read_bytes() == before
    with Progress.open(path) as progress:
        assert progress.summary().answers == 200


def test_a_copy_left_by_a_crash_is_whole(path, tmp_path):
    """Copied while open, with its log beside it, as a crash of the machine would leave it."""
    crashed = tmp_path / "crashed" / "progress.db"
    crashed.parent.mkdir()
    with Progress.open(path) as progress:
        progress.record_answer("00-q-last", True, "A")
        for file in path.parent.glob("progress.db*"):
            shutil.copy(file, crashed.parent)
    assert crashed.with_name("progress.db-wal").stat().st_size > 0
    with Progress.open(crashed) as progress:
        assert progress.summary().answers == 201


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProgressError, match="set COURSE_HOME"):
        Progress.open(tmp_path / "file" / "progress.db")


def test_without_course_home_it_is_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_HOME", raising=False)
    from platformdirs import user_data_path

    assert progress_path() == user_data_path("how-ai-models-are-trained", appauthor=False) / "progress.db"
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    assert progress_path() == tmp_path / "progress.db"
