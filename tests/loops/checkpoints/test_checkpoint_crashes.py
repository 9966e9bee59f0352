"""A crash at every single change of the disk, in a model that loses what was not synced."""

import errno
import io
import os
import random
import shutil
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as serialized

from course_lib.loops.checkpoints import checkpoint_files, durable_files
from course_lib.loops.checkpoints.checkpoint_files import CheckpointError, listed, read, remove_oldest, whole, write

FOLDER = Path("my runs", "größe 1")
KEEP = 2


class Crash(BaseException):
    """The power goes off: nothing in the program catches this."""


class Machine:
    """Stands between the saving code and the disk: logs each change, and at change number ``at`` something happens:
    a crash (whatever comes after fails too), a write that is torn by one, or an exception that is raised once.
    """

    def __init__(self, patch, *, at=None, happens="crash"):
        self.at, self.happens, self.log, self.dead = at, happens, [], False
        self._paths = {}  # of open files and folders, by descriptor
        self._open = os.open
        for name in ("mkdir", "rename", "unlink", "rmdir"):
            patch.setattr(os, name, self._change(name))
        patch.setattr(os, "open", self._open_folder)
        patch.setattr(os, "fsync", self._fsync)
        patch.setattr(durable_files, "open", self._open_file, raising=False)
        patch.setattr(checkpoint_files, "save_file", self._save_tensors)

    def note(self, *change):
        """Log a change that is about to be made, unless this is where it ends. Return whether to tear it."""
        if self.dead:
            raise Crash
        if len(self.log) == self.at:
            self.at = None
            if isinstance(self.happens, BaseException):
                raise self.happens
            self.dead = True
            if self.happens == "torn" and change[0] == "write":
                return True
            raise Crash
        self.log.append(change)
        return False

    def _change(self, name):
        real = getattr(os, name)

        def change(*paths):
            self.note(name, *paths)
            real(*paths)

        return change

    def _open_folder(self, path, flags):
        self._paths[descriptor := self._open(path, flags)] = path
        return descriptor

    def _fsync(self, descriptor):
        self.note("fsync", self._paths[descriptor])

    def _open_file(self, path, mode):
        if mode == "xb":
            self.note("create", path)
        file = Writer(self, path) if mode == "xb" else open(path, mode)  # noqa: SIM115
        self._paths[file.fileno()] = path
        return file

    def _save_tensors(self, tensors, path):
        with self._open_file(path, "xb") as file:
            file.write(serialized(tensors))


class Writer(io.FileIO):
    def __init__(self, machine, path):
        super().__init__(path, "w")
        self.machine, self.path = machine, path

    def write(self, data):
        torn = self.machine.note("write", self.path, data)
        super().write(data[: len(data) // 2] if torn else data)
        if torn:
            raise Crash


class Disk:
    """What would be on disk: each folder's names and each file's bytes, as of their last sync and as of now."""

    def __init__(self, log):
        self.nodes, self.where = [{"was": {}, "pending": []}], {log[0][1].parent if log else None: 0}
        for change in log:
            getattr(self, change[0], lambda *_: None)(*change[1:])

    def create(self, path, **kind):
        self.where[path] = len(self.nodes)
        self.nodes.append(kind or {"was": b"", "now": b""})
        self.nodes[self.where[path.parent]]["pending"].append(("add", path.name, self.where[path]))

    def mkdir(self, path):
        self.create(path, was={}, pending=[])

    def write(self, path, data):
        self.nodes[self.where[path]]["now"] += data

    def rename(self, old, new):
        self.nodes[self.where[old.parent]]["pending"].append(("rename", old.name, new.name))
        for path in [path for path in self.where if path.is_relative_to(old)]:
            self.where[new / path.relative_to(old)] = self.where.pop(path)

    def unlink(self, path):
        self.nodes[self.where.pop(path) and self.where[path.parent]]["pending"].append(("remove", path.name, None))

    rmdir = unlink

    def fsync(self, path):
        node = self.nodes[self.where[path]]
        node["was"] = self._names(node, lambda _: True) if "pending" in node else node["now"]
        node |= {"pending": []} if "pending" in node else {}

    @staticmethod
    def _names(node, survives):
        names = dict(node["was"])
        for kind, name, other in filter(survives, node["pending"]):
            if kind == "add":
                names[name] = other
            elif name in names:
                number = names.pop(name)
                if kind == "rename":
                    names[other] = number
        return names

    def left(self, names_survive, data_survives, number=0):
        """Return the files a crash leaves, as (path, bytes), if these say what becomes of unsynced names and data."""
        node = self.nodes[number]
        if "pending" not in node:
            return [("", node["was"] + data_survives(node["now"][len(node["was"]) :]))]
        inside = self._names(node, names_survive).items()
        parts = [(name, self.left(names_survive, data_survives, child)) for name, child in inside]
        return [("", None), *((f"{name}/{path}".rstrip("/"), data) for name, part in parts for path, data in part)]


def fates(seed):
    """What may become of that which was not synced: all of it kept, none of it, names without data, and at random."""
    rng = random.Random(seed)
    yield lambda _: True, lambda data: data
    yield lambda _: False, lambda data: b""
    yield lambda _: True, lambda data: b""
    yield lambda _: True, lambda data: bytes(len(data))  # as long as it was, but zeros
    for _ in range(4):
        yield lambda _: rng.random() < 0.5, lambda data: data[: rng.randrange(len(data) + 1)]


def state(step):
    return {"weight": torch.full((40,), float(step)), "step": step, "rows": list(range(step))}


def save(folder, step):
    write(folder, step, state(step))
    remove_oldest(folder, keep=KEEP)


def newest_step(folder):
    """The step of the newest whole checkpoint, after comparing all that it holds; 0 if there is none."""
    if not (paths := whole(folder)):
        return 0
    found = read(paths[-1])
    assert torch.equal(found["weight"], state(found["step"])["weight"])
    assert found["rows"] == list(range(found["step"]))
    return found["step"]


def recorded(patch, folder):
    """Save five times, and once more for one step; return all changes, and how many there were at each return."""
    machine, returned = Machine(patch), {0: 0}
    for step in (1, 2, 3, 4, 4, 5):
        save(folder, step)
        returned[len(machine.log)] = step
    return machine.log, returned


def losses(log, returned, scratch):
    """For each moment of a crash and each fate of what was not synced: yield if the last saved checkpoint is lost."""
    newest_of = {}  # by what is left: many crashes leave the same
    for moment in range(len(log) + 1):
        promised = max(step for changes, step in returned.items() if changes <= moment)
        disk = Disk(log[:moment])
        for fate in fates(moment):
            left = tuple(disk.left(*fate))
            if left not in newest_of:
                shutil.rmtree(scratch, ignore_errors=True)
                for path, data in left:
                    (scratch / path).mkdir() if data is None else (scratch / path).write_bytes(data)
                newest_of[left] = newest_step(scratch / FOLDER)
            if newest_of[left] not in (promised, promised + 1):
                yield f"after {moment} changes: {newest_of[left]} instead of {promised}"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # what a crash leaves is for the tests to decide
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_no_crash_loses_a_checkpoint_even_if_the_disk_forgets_what_was_not_synced(root, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        log, returned = recorded(patch, root / FOLDER)
    counts = {"create": 18, "write": 18, "mkdir": 8, "rename": 10, "unlink": 12, "rmdir": 4}  # 6 saved, 4 removed
    assert Counter(change[0] for change in log if change[0] != "fsync") == counts
    assert list(losses(log, returned, tmp_path / "scratch")) == []


def remove_first(temporary, *content, fill=checkpoint_files._fill):
    for path in listed(temporary.parent):
        durable_files.remove_folder(path)
    fill(temporary, *content)


CARELESS = [
    (durable_files, "sync_file", lambda path: None),
    (durable_files, "sync_folder", lambda path: None),
    (durable_files, "write_file", lambda path, data: durable_files.open(path, "xb").write(data)),
    (durable_files, "rename", lambda old, new: os.rename(old, new)),
    (checkpoint_files, "_fill", remove_first),
]


@pytest.mark.parametrize("careless", CARELESS, ids=[name for _, name, _ in CARELESS])
def test_the_model_notices_a_save_that_is_not_careful(careless, root, tmp_path):
    """If a careless save lost nothing here, the test above would prove nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*careless)
        log, returned = recorded(patch, root / FOLDER)
    assert next(losses(log, returned, tmp_path / "scratch"), None) is not None


def third_save(root, **happening):
    """Two saves, then one to which something happens; return how many changes it made and what it raised."""
    shutil.rmtree(root)
    save(root, 1)
    save(root, 2)
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(patch, **happening)
        try:
            save(root, 3)
        except (Crash, KeyboardInterrupt, CheckpointError) as error:
            return len(machine.log), error
    return len(machine.log), None


def check_next_save(root):
    save(root, 4)
    assert newest_step(root) == 4
    assert {path.name for path in root.iterdir()} == {".lock", *(path.name for path in whole(root)[-KEEP:])}


@pytest.mark.parametrize("happens", ["crash", "torn"])
def test_after_a_crash_at_any_change_the_next_save_works_and_sweeps(happens, root):
    total, _ = third_save(root)
    seen = set()
    for at in range(total):
        third_save(root, at=at, happens=happens)
        seen.add(newest_step(root))
        check_next_save(root)
    assert seen == {2, 3}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_after_an_error_at_any_change_the_program_goes_on(error, root):
    """A full disk, a failing one, Ctrl-C: reported, nothing left lying about, nothing lost, and the next save works."""
    total, _ = third_save(root)
    for at in range(total):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            _, raised = third_save(root, at=at, happens=error)
        assert newest_step(root) >= 2
        if isinstance(error, KeyboardInterrupt):
            assert raised is error
        elif raised is None:  # the checkpoint was safe already: what failed was the removal of an old one
            assert newest_step(root) == 3
            assert str(warned[0].message) == f"old checkpoints in {root} could not be removed: {error}."
        else:
            assert f"step 3 could not be saved in {root}: {error}. The newest checkpoint there is 00000" in str(raised)
            assert raised.__cause__ is error
        assert not any(path.name.startswith(".saving") for path in root.iterdir())
        check_next_save(root)
