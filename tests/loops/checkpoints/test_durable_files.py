"""Syncing, locking and removing on file systems that can do more or less of it."""

import errno
import os

import pytest

from course_lib.loops import file_lock
from course_lib.loops.checkpoints import durable_files
from course_lib.loops.checkpoints.durable_files import locked, make_folder, remove_folder, sync_folder, write_file


def test_a_new_folder_and_every_new_parent_is_synced_into_its_parent(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable_files, "sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_a_folder_that_another_process_makes_meanwhile(tmp_path, monkeypatch):
    mkdir = os.mkdir

    def slower(path):
        mkdir(path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", slower)
    make_folder(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


def test_no_file_is_written_over(tmp_path):
    write_file(tmp_path / "file", b"one")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"


@pytest.mark.parametrize(("code", "tolerated"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_sync_folders_is_told_from_one_that_fails(code, tolerated, tmp_path, monkeypatch):
    def fails(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    if tolerated:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match=os.strerror(code)):
            sync_folder(tmp_path)


def test_windows_syncs_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("Windows cannot open a folder"))
    sync_folder(tmp_path)


def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(TimeoutError, match=r"another process has been saving into .* for 0 s"),
        locked(tmp_path, wait_seconds=0.05),
    ):
        pytest.fail("both are in")
    with locked(tmp_path, wait_seconds=0):
        pass


def test_a_lock_is_let_go_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path, wait_seconds=0):
        pass


@pytest.mark.skipif(os.name == "nt", reason="another lock there")
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def fails(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(file_lock.fcntl, "flock", fails)
    with pytest.warns(UserWarning, match="has no locks: let only one process at a time write there"), locked(tmp_path):
        pass


def test_a_folder_that_holds_a_folder_is_not_removed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(OSError, match="b"):
        remove_folder(tmp_path / "a")
    assert (tmp_path / "a" / "b").is_dir()
