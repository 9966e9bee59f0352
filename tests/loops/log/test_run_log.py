"""The run log: numbers keep their bits, nothing is mixed up or guessed, what does not belong is refused."""

import errno
import json
import math
import platform
import random
import struct
import subprocess

import pytest
import torch

from course_lib import __version__
from course_lib.loops.log import run_log
from course_lib.loops.log.logged_run import read_log
from course_lib.loops.log.run_log import RunLog

fcntl = pytest.importorskip("fcntl", reason="these tests look at a POSIX system's descriptors and limits")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "first.jsonl"


def test_every_float_is_read_back_with_its_bits(path):
    generator = random.Random(0)
    patterns = [generator.getrandbits(64) for _ in range(2000)] + [0, 1 << 63, 1, 0x7FEFFFFFFFFFFFFF]
    floats = [x for x in (struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in patterns) if x == x]
    with RunLog(path) as log:
        for step, value in enumerate(floats):
            log.record(step, value=value)
    found = read_log(path).column("value")
    assert [struct.pack("<d", value) for value in found] == [struct.pack("<d", value) for value in floats]


def test_each_kind_of_value_comes_back_as_it_went(path):
    values = {
        "nan": math.nan,
        "up": math.inf,
        "down": -math.inf,
        "whole": 10**30,
        "one": 1.0,
        "yes": True,
        "note": 'line\nbreak "é" \ud800',
        "layer/0.weight": 0.5,
    }
    with RunLog(path) as log:
        log.record(0, **values)
    (row,) = read_log(path).rows
    assert math.isnan(row.pop("nan"))
    assert row.pop("wall_seconds") >= 0
    del values["nan"]
    assert row == {"step": 0, **values}
    assert {name: type(row[name]) for name in values} == {name: type(value) for name, value in values.items()}


def test_every_line_is_strict_json(path):
    with RunLog(path, settings={"max_grad_norm": math.inf}) as log:
        log.record(1, loss=math.nan)

    def refuse(constant):
        raise AssertionError(constant)

    header, row = (json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines())
    assert header["settings"] == {"max_grad_norm": "Infinity"}
    assert row["loss"] == "NaN"
    assert read_log(path).settings == {"max_grad_norm": math.inf}


def test_the_header_says_what_ran_where(path, tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    settings = {"lr": 0.1, "sizes": (3, 4), "schedule": {"warmup": 10}, "ema": None}
    RunLog(path, settings=settings).close()
    logged = read_log(path)
    assert logged.settings == {**settings, "sizes": [3, 4]}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "course_lib": __version__}
    found = dict(logged.circumstances)
    assert found.pop("started").endswith("+00:00")
    assert found == {
        "versions": versions,
        "platform": platform.platform(),
        "num_threads": torch.get_num_threads(),
        "torch_seed": 5,
        "commit": git("rev-parse", "HEAD"),
    }


def test_without_git_or_outside_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    RunLog(tmp_path / "outside.jsonl").close()
    monkeypatch.setenv("PATH", "")
    RunLog(tmp_path / "without.jsonl").close()
    for name in ("outside", "without"):
        assert read_log(tmp_path / f"{name}.jsonl").circumstances["commit"] is None


@pytest.mark.parametrize(
    ("arguments", "values", "message"),
    [
        ((3,), {}, r"goes on at step 4, got step 3, which is recorded or passed.*resumed\(run.index\)"),
        ((2,), {}, "goes on at step 4, got step 2"),
        ((-1,), {}, "step must be a whole number, 0 or more, got -1"),
        ((4.0,), {}, "step must be a whole number, 0 or more, got 4.0"),
        ((True,), {}, "step must be a whole number, 0 or more, got True"),
        ((4,), {"step": 1}, "a column may not be called 'step'"),
        ((4,), {"loss": 1.0, "wall_seconds": 1.0}, "a column may not be called 'wall_seconds'"),
        ((4,), {"loss": torch.tensor(1.0)}, r"loss must be .*got Tensor: read it with step.values\(\)"),
        ((4,), {"loss": None}, "loss must be a Python number, text or truth value, got NoneType"),
    ],
)
def test_a_bad_row_is_named_and_not_written(path, arguments, values, message):
    with RunLog(path) as log:
        log.record(3)
        before = path.read_bytes()
        with pytest.raises(ValueError, match=message):
            log.record(*arguments, **values)
        assert path.read_bytes() == before


@pytest.mark.parametrize("step", [-1, 1.0, True, None])
def test_a_bad_resumption_is_refused(path, step):
    with RunLog(path) as log, pytest.raises(ValueError, match="resumed needs the step of the checkpoint"):
        log.resumed(step)


def test_other_settings_are_refused_by_name(path):
    RunLog(path, settings={"lr": 0.1, "width": 8, "decay": math.nan}).close()
    before = path.read_bytes()
    message = "lr was 0.1 and is 0.2; steps was 'absent' and is 5; width was 8 and is 'absent'. Take another path"
    with pytest.raises(ValueError, match=message):
        RunLog(path, settings={"lr": 0.2, "decay": math.nan, "steps": 5})
    RunLog(path, settings={"width": 8, "lr": 0.1, "decay": math.nan}).close()  # the order of names says nothing
    RunLog(path).close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"precious", b"precious\n", b'{"loss": 1}', b"\n\n"])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"notes.txt, line \d: this is no run log"):
        RunLog(path)
    with pytest.raises(ValueError, match=r"notes.txt, line \d: this is no run log"):
        read_log(path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_log(path):
    path.parent.mkdir()
    path.touch()  # killed between making the file and its first line
    with pytest.raises(ValueError, match="it has no whole line"):
        read_log(path)
    with RunLog(path) as log:
        log.record(1)
    assert read_log(path).column("step") == [1]


def test_a_second_writer_is_refused_until_the_first_has_closed(path):
    first = RunLog(path)
    with pytest.raises(ValueError, match="is being written by another RunLog"):
        RunLog(path)
    first.record(1)
    first.close()
    first.close()
    with pytest.raises(ValueError, match="is closed; open the log again"):
        first.record(2)
    with RunLog(path) as second:
        second.record(2)
    assert read_log(path).column("step") == [1, 2]


def test_a_file_system_without_locks_is_warned_about(path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="has no locks: let only one process at a time write there"):
        log = RunLog(path)
    log.close()


def test_only_the_first_rank_writes(path, monkeypatch):
    monkeypatch.setattr(run_log, "rank", lambda: 1)
    with RunLog(path, settings={"lr": 0.1}) as log:
        log.record(1, loss=1.0)
        log.resumed(1)
        log.sync()
    assert not path.parent.exists()


def test_closing_waits_for_the_disk(path, monkeypatch):
    synced = []
    monkeypatch.setattr(run_log.os, "fsync", synced.append)
    log = RunLog(path)
    log.record(1)
    assert synced == []
    log.close()
    assert len(synced) == 1


def test_recording_changes_no_random_state(path):
    before = torch.get_rng_state(), random.getstate()
    with RunLog(path) as log:
        log.record(1, loss=1.0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
