"""The run log: no recorded row is lost to a kill, numbers keep their bits, nothing is mixed up or guessed."""

import errno
import json
import math
import os
import platform
import random
import signal
import struct
import subprocess
import sys

import pytest
import torch

from course_lib import __version__
from course_lib.loops import run_log, train
from course_lib.loops.logged_run import read_log
from course_lib.loops.run_log import RunLog

fcntl = pytest.importorskip("fcntl", reason="these tests look at a POSIX system's descriptors and limits")
resource = pytest.importorskip("resource")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "first.jsonl"


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is told to go on."""
    now = [0.0]
    monkeypatch.setattr(run_log.time, "perf_counter", lambda: now[0])
    return now


def without_time(rows):
    return [{name: value for name, value in row.items() if name != "wall_seconds"} for row in rows]


def python(code, *arguments, **kwargs):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, **kwargs)


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


def test_a_row_is_one_write_that_can_only_append(path):
    log = RunLog(path)
    assert fcntl.fcntl(log._file, fcntl.F_GETFL) & os.O_APPEND
    real, writes = log._file, []

    class Watched:
        closed = False

        def write(self, data):
            writes.append(data)
            return real.write(data)

    log._file = Watched()
    log.record(1, loss=0.5)
    log.record(2, loss=0.25)
    assert [json.loads(data)["step"] for data in writes] == [1, 2]
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 for data in writes)
    assert len(read_log(path).rows) == 2  # while it is open
    real.close()


RECORD_FOR_EVER = """
import sys
from course_lib.loops.run_log import RunLog
log = RunLog(sys.argv[1], settings={"lr": 0.1})
for step in range(1, 10**9):
    log.record(step, loss=1 / step)
    print(step, flush=True)
"""


def test_a_killed_process_loses_no_row_and_the_log_goes_on(path):
    with python(RECORD_FOR_EVER, path) as process:
        try:
            told = 0
            while told < 300:
                told = int(process.stdout.readline())
        finally:
            process.kill()
        told = int(([told, *process.stdout.read().split()])[-1])
        assert process.wait(timeout=30) == -signal.SIGKILL
    rows = read_log(path).rows
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) - told in (0, 1)  # killed between recording a row and telling us
    with RunLog(path, settings={"lr": 0.1}) as log:
        log.record(len(rows) + 1, loss=0.0)
    assert len(read_log(path).rows) == len(rows) + 1


FORK_AND_WAIT = """
import os, sys, time
from course_lib.loops.run_log import RunLog
log = RunLog(sys.argv[1])
log.record(1, loss=1.0)
if os.fork() == 0:
    try:
        log.record(2, loss=2.0)
    except ValueError as error:
        print(os.getpid(), error, flush=True)
    time.sleep(60)
time.sleep(60)
"""


def test_a_forked_child_neither_writes_nor_keeps_the_log(path):
    with python(FORK_AND_WAIT, path, text=True) as process:
        child, _, message = process.stdout.readline().partition(" ")
        try:
            assert "is closed; open the log again" in message
            with pytest.raises(ValueError, match="is being written by another RunLog"):
                RunLog(path)
            process.kill()
            process.wait(timeout=30)
            RunLog(path).close()  # the orphan is still alive
        finally:
            process.kill()
            os.kill(int(child), signal.SIGKILL)
    assert [row["step"] for row in read_log(path).rows] == [1]


def test_a_resumed_run_has_the_log_of_an_unbroken_one(path, tmp_path, make_run, small_model, batches):
    data = [(x.double(), y) for x, y in batches(9)]

    def log_steps(run, log, steps):
        for step in train(run, data[run.index :], steps=steps):
            log.record(step.index, learning_rate=step.learning_rate, **step.values())

    with RunLog(tmp_path / "unbroken.jsonl", settings={"lr": 0.1}) as log:
        log_steps(make_run(), log, 9)
    run = make_run()
    log = RunLog(path, settings={"lr": 0.1})
    log_steps(run, log, 4)
    saved = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    log_steps(run, log, 7)
    log.close()  # "killed" three steps after its checkpoint
    model = small_model()
    model.load_state_dict(saved)
    with RunLog(path, settings={"lr": 0.1}) as log:
        resumed = make_run(model, index=4)
        log.resumed(resumed.index)
        log_steps(resumed, log, 9)
    logged, unbroken = read_log(path), read_log(tmp_path / "unbroken.jsonl")
    assert without_time(logged.rows) == without_time(unbroken.rows)
    assert [mark["resumed"] for mark in logged.resumed] == [4]
    assert logged.resumed[0]["versions"] == logged.circumstances["versions"]
    assert len(path.read_text().splitlines()) == 1 + 7 + 1 + 5  # nothing was taken out of the file


def test_wall_seconds_leave_out_the_time_between_kill_and_resumption(path, clock):
    log = RunLog(path)
    for step, now in enumerate([10.0, 20.0, 30.0], start=1):
        clock[0] = now
        log.record(step)
    log.close()
    clock[0] = 1000.0
    with RunLog(path) as log:
        clock[0] = 1005.0
        log.resumed(2)
        clock[0] = 1006.5
        log.record(3)
    assert read_log(path).column("wall_seconds") == [10.0, 20.0, 21.5]


@pytest.mark.parametrize(("resumed", "refused", "allowed"), [(4, 4, 5), (5, 4, 5), (9, 8, 9), (0, -1, 0)])
def test_after_a_resumption_the_next_row_follows_it(path, resumed, refused, allowed):
    with RunLog(path) as log:
        assert log.last_step is None
        for step in (2, 4, 6):
            log.record(step)
            assert log.last_step == step
    with RunLog(path) as log:
        assert log.last_step == 6
        log.resumed(resumed)
        kept = [step for step in (2, 4, 6) if step <= resumed]
        assert log.last_step == (kept[-1] if kept else None)
        with pytest.raises(ValueError, match="step"):
            log.record(refused)
        log.record(allowed)
    assert read_log(path).column("step") == [*kept, allowed]


@pytest.mark.parametrize("cut", [b'{"step": 2, "wall', b'{"step": 2, "wall_seconds": 0.5}', b"\x00\x00"])
def test_a_line_cut_short_is_not_glued_to_the_next(path, cut):
    with RunLog(path) as log:
        log.record(1)
    with path.open("ab") as file:
        file.write(cut)
    known = read_log(path).column("step")
    with RunLog(path) as log:
        log.record(3)
    assert read_log(path).column("step") == [*known, 3]
    assert known == ([1, 2] if cut.endswith(b"}") else [1])


def test_a_full_disk_leaves_the_log_as_it_was(path):
    with RunLog(path) as log:
        log.record(1, loss=1.0)
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))  # the system takes ten bytes of the row
        try:
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                log.record(2, loss=2.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        log.record(2, loss=2.0)
    assert read_log(path).column("loss") == [1.0, 2.0]


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
    with pytest.warns(UserWarning, match="has no locks .*let only one process write"):
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
