"""Launching from a program of its own: functions of ``__main__``, an interrupt, and a launcher that is killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started with it ignored
import os, sys, time
import torch
import torch.distributed as dist
from course_lib.collectives import rank
from course_lib.distributed import launch

class Found:
    def __init__(self, value):
        self.value = value

def work(x):
    dist.all_reduce(x)
    return Found(x.item() + rank())

def endless(folder):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(100 if rank() else 0)
    dist.barrier()

print([found.value for found in launch(work, torch.ones(1))], flush=True)  # no guard against a second import
try:
    launch(endless, sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
print([found.value for found in launch(work, torch.ones(1) * 2)], flush=True)
launch(endless, sys.argv[2])
"""


def worker_pids(folder):
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.02)
    return [int(path.name) for path in folder.iterdir()]


def assert_gone(pids):
    deadline = time.monotonic() + 20
    while any(map(running, pids)):
        assert time.monotonic() < deadline, f"still running: {[pid for pid in pids if running(pid)]}"
        time.sleep(0.02)


def running(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see which processes are left")
def test_functions_of_a_script_run_and_nothing_survives_an_interrupt_or_a_kill(tmp_path):
    script, first, second = (tmp_path / name for name in ("script.py", "first", "second"))
    temporary = Path(tempfile.mkdtemp())  # short: tmp_path may be too long for a socket
    script.write_text(SCRIPT)
    for folder in (first, second):
        folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, script, first, second],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert process.stdout.readline() == "[2.0, 3.0]\n"
        workers = worker_pids(first)
        server = int(Path(f"/proc/{workers[0]}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert not any(map(running, workers))  # already, before the cell is left
        assert process.stdout.readline() == "[4.0, 5.0]\n"
        workers = worker_pids(second)
        process.kill()
        process.wait()
        assert_gone([*workers, server])
        assert not list(temporary.glob("launch_*"))
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
        shutil.rmtree(temporary)


def test_functions_of_a_string_run_on_workers_started_afresh():
    program = """
from course_lib.distributed.launching import launch, launcher
launcher._start_method = lambda: "spawn"  # as on other systems
def double(x):
    return 2 * x
print(launch(double, 4, num_workers=1))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[8]\n", "")
