"""Functions on worker processes: what they return, what they print, and how each way to fail comes back."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.distributed import WorkerFailed, WorkersTimedOut, device, launch
from course_lib.distributed.launching import launcher

EXACT = {"rtol": 0, "atol": 0}


@dataclass
class Summary:
    total: torch.Tensor
    name: str


def summed(values):
    """A function of a module: it travels by its name."""
    values = values + rank()
    dist.all_reduce(values)
    return values


def test_each_rank_returns_what_it_computed_in_rank_order():
    base = torch.tensor([1.0, 2.0], requires_grad=True)  # a closure, and a tensor that knows of autograd

    def work(scale, names):
        total = summed(base.detach() * scale)
        noted = {"threads": torch.get_num_threads(), "device": device(), "backend": dist.get_backend()}
        return Summary(total, names[rank()]), base * 2, (rank(), world_size()), noted

    results = launch(work, 3, ["a", "b"], num_workers=2)
    assert isinstance(results, list)
    assert len(results) == 2
    for me, (summary, doubled, place, noted) in enumerate(results):
        assert type(summary) is Summary
        assert_close(summary.total, torch.tensor([7.0, 13.0]), **EXACT)  # 2 * 3 * base + 0 + 1
        assert summary.name == "ab"[me]
        assert_close(doubled.detach(), torch.tensor([2.0, 4.0]), **EXACT)
        assert place == (me, 2)
        assert noted == {"threads": 1, "device": torch.device("cpu"), "backend": "gloo"}
    assert_close(base, torch.tensor([1.0, 2.0], requires_grad=True), **EXACT)
    assert 0 < results.start_seconds < results.wall_seconds


def test_lambdas_and_functions_of_a_module_run_on_any_number_of_workers():
    assert launch(lambda x: x * 10 + rank(), 4, num_workers=1) == [40]
    for values in launch(summed, torch.zeros(1), num_workers=3):
        assert_close(values, torch.tensor([3.0]), **EXACT)


def test_threads_can_launch_at_once():
    main, answers = sys.modules["__main__"], {}

    def launching(number):
        answers[number] = launch(lambda: number + rank())

    threads = [threading.Thread(target=launching, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: [0, 1], 1: [1, 2], 2: [2, 3]}
    assert sys.modules["__main__"] is main  # hidden from the workers for a moment


def test_workers_see_the_environment_and_the_threads_of_the_moment(monkeypatch):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setenv("COURSE_TEST_VALUE", "now")  # later than the server from which workers are forked
    answers = launch(lambda: (os.environ["COURSE_TEST_VALUE"], torch.get_num_threads()), num_threads=2)
    assert answers == [("now", 2)] * 2
    monkeypatch.delenv("PATH")  # the server still has it
    assert launch(lambda: os.environ.get("PATH"), num_workers=1) == [None]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers  # ours again
    assert "TORCHELASTIC_USE_AGENT_STORE" not in os.environ


def test_every_line_is_shown_behind_its_rank_as_it_comes(capsys):
    long = "x" * 50_000  # longer than what is written at once

    def talk():
        print("héllo")
        for piece in ("one", "line"):
            print(piece, end=" ", flush=True)
            time.sleep(0.2)
        print(f"\n{long}")
        print("no newline", end="")
        os.write(2, b"from C\n")

    launch(talk)
    shown = capsys.readouterr()
    said = ["héllo", "one line ", long, "no newline"]
    for me in (0, 1):
        mine = f"[rank {me}] "
        assert [line[len(mine) :] for line in shown.out.splitlines() if line.startswith(mine)] == said
    assert len(shown.out.splitlines()) == 2 * len(said)
    assert sorted(shown.err.splitlines()) == ["[rank 0] from C", "[rank 1] from C"]
    launch(talk, show=False)
    assert capsys.readouterr() == ("", "")


def test_lines_appear_while_the_ranks_still_work(capsys):
    seen = []

    def watch():
        while not seen:
            time.sleep(0.02)
            out = capsys.readouterr().out
            if out:
                seen.append((out, time.time()))

    def talk():
        print("early")
        time.sleep(1.5)
        return time.time()

    watcher = threading.Thread(target=watch)
    watcher.start()
    (ended,) = launch(talk, num_workers=1)
    watcher.join()
    assert seen[0][0] == "[rank 0] early\n"
    assert seen[0][1] < ended


def test_an_exception_names_the_rank_and_carries_its_traceback():
    def work():
        if rank() == 1:
            raise KeyError("the cause")
        dist.barrier()  # would wait for ever

    with pytest.raises(WorkerFailed) as caught:
        launch(work)
    assert caught.value.rank == 1
    assert str(caught.value).startswith("Rank 1 of 2 raised KeyError: 'the cause'\n\nTraceback (most recent call last)")
    assert f'File "{__file__}", line' in caught.value.traceback
    assert 'raise KeyError("the cause")' in caught.value.traceback  # and none of our own frames
    assert "worker.py" not in caught.value.traceback
    assert "Rank 0 " in str(caught.value)


def test_an_exception_without_a_text_is_named_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("another one")

    def work():
        raise Mute

    with pytest.raises(WorkerFailed, match=r"Rank 0 of 1 raised Mute: \(it cannot be shown as text\)"):
        launch(work, num_workers=1)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"Rank 1 of 2 was killed by SIGKILL \(kill -9, or"),
        (lambda: ctypes.string_at(0), r"Rank 1 of 2 was killed by SIGSEGV\.[\s\S]*Segmentation fault"),
        (lambda: os._exit(3), r"Rank 1 of 2 ended without returning, with exit code 3\."),
        (lambda: os._exit(0), r"Rank 1 of 2 ended without returning, with exit code 0\."),
        (lambda: exit(), r"Rank 1 of 2 raised SystemExit"),
    ],
)
def test_a_rank_that_dies_is_named_and_the_others_end(end, message):
    def work():
        if rank() == 1:
            end()
        time.sleep(100)

    with pytest.raises(WorkerFailed, match=message) as caught:
        launch(work, show=False)
    assert caught.value.rank == 1


def test_a_rank_that_handles_sigterm_is_neither_blamed_nor_left():
    def work():
        signal.signal(signal.SIGTERM, lambda *_: None)
        dist.barrier()
        if rank() == 1:
            raise RuntimeError("the cause") from KeyError("its own")
        while True:
            time.sleep(1)

    with pytest.raises(WorkerFailed, match=r"Rank 1 of 2 raised RuntimeError: the cause") as caught:
        launch(work)
    assert caught.value.traceback.startswith("KeyError: 'its own'")
    assert str(caught.value).endswith("Rank 0 was ended.")


def test_time_out_tells_where_each_rank_was():
    def work():
        if rank() == 0:
            dist.recv(torch.zeros(1), src=1)  # which sends nothing
        if rank() == 1:
            time.sleep(100)

    with pytest.raises(WorkersTimedOut, match=r"After 2 s rank 0, 1 had not returned \(rank 2 had\)") as caught:
        launch(work, num_workers=3, timeout=2)
    assert caught.value.ranks == [0, 1]
    waiting, sleeping = str(caught.value).split("Rank 0 was here:")[1].split("Rank 1 was here:")
    assert "dist.recv(torch.zeros(1), src=1)  # which sends nothing" in waiting
    assert "time.sleep(100)" in sleeping


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see which processes are left")
def test_nothing_that_workers_started_is_left_or_waited_for():
    def work():
        threading.Thread(target=time.sleep, args=(100,)).start()
        multiprocessing.Process(target=time.sleep, args=(100,)).start()
        return subprocess.Popen(["sleep", "100"]).pid

    began = time.monotonic()

    for pid in launch(work):
        deadline = time.monotonic() + 5
        while os.path.exists(f"/proc/{pid}") and not _is_zombie(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert time.monotonic() - began < 90  # not until the thread's or the process's end


def _is_zombie(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always start workers afresh")
def test_workers_are_forked_only_where_that_can_be_done(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert launcher._start_method() == "forkserver"
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 66)
    assert launcher._start_method() == "spawn"  # the server's socket would have too long a path
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert launcher._start_method() == "spawn"  # a process that has loaded CUDA must not be forked


def test_mistakes_are_told_before_anything_starts():
    with pytest.raises(TypeError, match=r"needs a function to call, got 3"):
        launch(3)
    with pytest.raises(ValueError, match=r"num_workers must be positive, got 0"):
        launch(print, num_workers=0)
    with pytest.raises(ValueError, match=r"timeout must be positive, got -1"):
        launch(print, timeout=-1)
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot be sent to other processes.*lock"):
        launch(lambda: lock)


def test_what_cannot_come_back_or_start_is_told():
    with pytest.raises(WorkerFailed, match=r"raised TypeError: What the function returned cannot be sent back"):
        launch(lambda: (row for row in range(3)), num_workers=1)
    with pytest.raises(WorkerFailed, match=r"raised ValueError: launch was called where a process group exists"):
        launch(lambda: launch(print), num_workers=1)
    if not torch.cuda.is_available():
        with pytest.raises(WorkerFailed, match=r"NCCL needs a GPU for each rank: 1 ranks on this machine, 0 GPUs"):
            launch(print, num_workers=1, backend="nccl")
