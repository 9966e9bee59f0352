"""One checkpoint on disk: what is in it, how it is named, and every way in which it can be wrong."""

import json
import random
import shutil
import threading

import pytest
import torch
from safetensors.torch import load_file

from course_lib.loops.checkpoints import checkpoint_files, durable_files
from course_lib.loops.checkpoints.checkpoint_files import (
    CheckpointError,
    check,
    listed,
    read,
    remove_oldest,
    sweep,
    whole,
    write,
)

STATE = {
    "weight": torch.arange(6.0).reshape(2, 3).T,
    "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    "none": torch.zeros(0, 3),
    "scalar": torch.tensor(7),
    "optimizer": {0: {"betas": (0.9, 0.999)}},
}


@pytest.fixture
def saved(tmp_path):
    return write(tmp_path / "run", 12, STATE)


def names(folder):
    return [path.name for path in listed(folder)]


def test_what_is_on_disk(saved):
    """Other programs can read it: plain safetensors and JSON, with hashes of both."""
    assert saved.name == "000001_step_12"
    assert {path.name for path in saved.iterdir()} == {"manifest.json", "state.json", "tensors.safetensors"}
    tensors = load_file(saved / "tensors.safetensors")
    assert sorted(tensors) == ["half", "none", "scalar", "weight"]
    assert torch.equal(tensors["weight"], STATE["weight"])
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["format"] == "course_lib checkpoint"
    assert manifest["version"] == 1
    assert manifest["name"] == saved.name
    assert manifest["saved_with"]["torch"] == torch.__version__
    for name, file in manifest["files"].items():
        assert file["bytes"] == (saved / name).stat().st_size


def test_reading_gives_what_was_written(saved):
    again = read(saved)
    assert again["optimizer"] == STATE["optimizer"]
    for name in ("weight", "half", "none", "scalar"):
        assert again[name].dtype == STATE[name].dtype
        torch.testing.assert_close(again[name], STATE[name], rtol=0, atol=0, equal_nan=True)


def test_every_dtype_comes_back_from_a_file(tmp_path):
    dtypes = [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64]
    dtypes += [torch.int64, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64]
    state = {str(dtype): torch.arange(256).to(torch.uint8).view(dtype) for dtype in dtypes}
    again = read(write(tmp_path, 0, state))
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        assert torch.equal(again[name].view(torch.uint8), value.view(torch.uint8))


def test_what_was_read_does_not_hang_on_the_file(saved):
    again = read(saved)
    for file in saved.iterdir():
        file.write_bytes(b"")
    assert torch.equal(again["weight"], STATE["weight"])


def test_saving_a_step_again_makes_another_and_the_last_saved_is_the_newest(tmp_path):
    for step in (5, 5, 3, 5):
        write(tmp_path, step, {"step": step})
    assert names(tmp_path) == ["000001_step_5", "000002_step_5", "000003_step_3", "000004_step_5"]
    remove_oldest(tmp_path, keep=2, besides=[tmp_path / "000003_step_3"])
    assert names(tmp_path) == ["000002_step_5", "000003_step_3", "000004_step_5"]
    (tmp_path / "1000000_step_1").mkdir()  # numbers count on beyond six digits, and are compared as numbers
    assert names(tmp_path)[-1] == "1000000_step_1"
    assert write(tmp_path, 2, {}).name == "1000001_step_2"


def test_a_checkpoint_can_be_copied_elsewhere(saved, tmp_path):
    assert read(shutil.copytree(saved, tmp_path / "the best one"))["optimizer"] == STATE["optimizer"]


def test_no_flipped_bit_goes_unnoticed(saved):
    """A random bit of every second byte of every file."""
    rng = random.Random(0)
    for file in sorted(saved.iterdir()):
        data = bytearray(file.read_bytes())
        for place in range(0, len(data) - (file.name == "manifest.json"), 2):  # but for the line break at its end
            bit = 1 << rng.randrange(8)
            data[place] ^= bit
            file.write_bytes(data)
            with pytest.raises(CheckpointError, match=file.name):
                check(saved)
            data[place] ^= bit
        file.write_bytes(data)
    check(saved)


def test_no_cut_goes_unnoticed(saved):
    for file in sorted(saved.iterdir()):
        data = file.read_bytes()
        for length in range(0, len(data) - 1, 7):
            file.write_bytes(data[:length])
            with pytest.raises(CheckpointError, match=file.name):
                check(saved)
        file.write_bytes(data)


def rewrite(path, **changes):
    """Change the manifest, and seal it again."""
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    manifest |= changes
    (path / "manifest.json").write_text(json.dumps({**manifest, "sha256": checkpoint_files._seal(manifest)}))


def break_it(kind, path, tmp_path):
    tensors, other = path / "tensors.safetensors", write(tmp_path / "other", 1, {**STATE, "scalar": torch.tensor(8)})
    match kind:
        case "cut short":
            tensors.write_bytes(tensors.read_bytes()[:-1])
        case "extended":
            tensors.write_bytes(tensors.read_bytes() + b"\0")
        case "another's":
            shutil.copy(other / "tensors.safetensors", tensors)
        case "missing":
            tensors.unlink()
        case "no manifest":
            (path / "manifest.json").unlink()
        case "not JSON":
            (path / "manifest.json").write_text("{")
        case "a list":
            (path / "manifest.json").write_text("[]")
        case "another format":
            (path / "manifest.json").write_text('{"format": "somebody\'s", "version": 1}')
        case "newer":
            rewrite(path, version=2)
        case "edited":
            manifest = (path / "manifest.json").read_text()
            (path / "manifest.json").write_text(manifest.replace("step_12", "step_13"))
        case "a folder":
            tensors.unlink()
            tensors.mkdir()


PROBLEMS = {
    "cut short": r"tensors.safetensors has \d+ bytes instead of \d+: it was cut short",
    "extended": r"tensors.safetensors has \d+ bytes instead of \d+: it was extended",
    "another's": "tensors.safetensors is damaged, or another checkpoint's: its hash is not the manifest's",
    "missing": "tensors.safetensors is missing, though the manifest lists it",
    "no manifest": "is no checkpoint: it has no manifest.json, which is written last",
    "not JSON": r"manifest.json is damaged: Expecting property name",
    "a list": 'manifest.json is not of a checkpoint of this library: its format is not "course_lib checkpoint"',
    "another format": "manifest.json is not of a checkpoint of this library",
    "newer": "has format 2, this library reads up to 1: update course_lib",
    "edited": "manifest.json is damaged: its content does not have the hash that it states",
    "a folder": "tensors.safetensors",
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_is_wrong_is_named(kind, saved, tmp_path):
    break_it(kind, saved, tmp_path)
    for refused in (read, check):
        with pytest.raises(CheckpointError, match=PROBLEMS[kind]):
            refused(saved)
    assert whole(saved.parent) == []
    assert listed(saved.parent) == [saved]


def test_a_well_hashed_state_that_makes_no_sense_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "pack", lambda state: ([{"pickle": "x"}], {}))
    with pytest.raises(CheckpointError, match=r"cannot be read: unknown kind of value \['pickle'\]"):
        read(write(tmp_path, 1, None))


def test_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint: there is no such folder"):
        read(tmp_path / "nothing")
    assert whole(tmp_path / "nothing") == []
    sweep(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_state_that_cannot_be_saved_touches_nothing(tmp_path):
    with pytest.raises(ValueError, match=r'state\["a"\] is a builtins.set'):
        write(tmp_path / "run", 1, {"a": {1}})
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=r"step 1 could not be saved .*There is no earlier checkpoint|before"):
            write(folder, 1, {})
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_read_only(saved, monkeypatch):
    def refused(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(durable_files, "open", refused, raising=False)  # root may write wherever it likes
    with pytest.raises(
        CheckpointError, match=r"Permission denied.* The newest checkpoint there is 000001_step_12; .* MB"
    ):
        write(saved.parent, 13, STATE)
    assert read(saved)["optimizer"] == STATE["optimizer"]


def test_two_that_save_at_once_take_turns(tmp_path):
    """Each holds a lock of its own, as two processes would; none sweeps what the other is writing."""
    failures = []

    def saver(number):
        try:
            for _ in range(10):
                write(tmp_path, number, {"number": number, "weight": torch.full((100,), number)})
                remove_oldest(tmp_path, keep=100)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=saver, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert [int(path.name[:6]) for path in whole(tmp_path)] == list(range(1, 31))
    assert {read(path)["number"] for path in listed(tmp_path)} == {0, 1, 2}


def test_what_is_not_ours_is_not_swept(tmp_path):
    write(tmp_path, 1, STATE)
    for name in (".saving", ".saving_notes", "000009_step_x", "notes", ".removing_1_step_2", ".saving_000003_step_3"):
        (tmp_path / name).mkdir()
    (tmp_path / ".saving_000009_step_9").write_text("a file")
    (tmp_path / ".saving_000008_step_8").symlink_to(tmp_path / "notes")
    before = {path.name for path in tmp_path.iterdir()}
    sweep(tmp_path)
    assert before - {path.name for path in tmp_path.iterdir()} == {".saving_000003_step_3"}


def test_files_that_somebody_adds_are_in_the_manifest(tmp_path):
    def add(folder):
        durable_files.write_file(folder / "more.bin", b"12345")
        return {"more.bin": checkpoint_files.file_entry(folder / "more.bin")}

    path = checkpoint_files.write(tmp_path, 1, {"a": 1}, add=add)
    assert checkpoint_files.check(path)["files"]["more.bin"]["bytes"] == 5
    (path / "more.bin").write_bytes(b"12346")
    with pytest.raises(CheckpointError, match=r"more.bin is damaged"):
        checkpoint_files.read(path)
