"""The run log and sudden ends: kills, forks, full disks, resumptions; no recorded row is lost or counted twice."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from course_lib.loops import train
from course_lib.loops.log import run_log
from course_lib.loops.log.logged_run import read_log
from course_lib.loops.log.run_log import RunLog

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
from course_lib.loops.log.run_log import RunLog
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
from course_lib.loops.log.run_log import RunLog
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
