"""Real processes that save without pause, killed without warning: what they had promised is there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from course_lib.loops.checkpoints.checkpoint_files import read, remove_oldest, whole, write

KILLS = 5
SAVER = Path(__file__).with_name("endless_saver.py")


@pytest.fixture
def saver():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(SAVER)], env=environment, **pipes) as process:
        yield process
        process.kill()


def promised(folder):
    """The last step that was safe, by the word of the process itself; 0 if it did not come so far."""
    return int((["0", *(folder / "promised").read_text().split("\n")[:-1]])[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the savers are forked, so that torch is imported once")
@pytest.mark.timeout(120)
def test_a_killed_process_loses_nothing(saver, tmp_path):
    rng = random.Random(0)
    for number in range(KILLS):
        folder = tmp_path / str(number)
        print(folder, file=saver.stdin, flush=True)
        child = int(saver.stdout.readline())
        deadline = time.monotonic() + 60
        while not (folder / "promised").exists() or promised(folder) < 3:
            assert time.monotonic() < deadline, "three small checkpoints were not saved within a minute"
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert saver.stdout.readline() == "dead\n"
        last = promised(folder)
        state = read(whole(folder)[-1])
        assert len(state["rows"]) in (last, last + 1)
        assert torch.equal(state["weight"], torch.full((40,), float(len(state["rows"]))))
        write(folder, last + 2, state)  # the dead process keeps no lock, and its leftovers are swept
        remove_oldest(folder, keep=2)
        assert not [path.name for path in folder.iterdir() if path.name.startswith((".saving", ".removing"))]
