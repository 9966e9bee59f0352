"""A fresh process that goes on from any step ends with the same bits as one that was never stopped."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from course_lib.loops.checkpoints.checkpoint_files import read, whole

WORKER = Path(__file__).with_name("resume_worker.py")
STEPS = 6
KINDS = ["momentum", "adam", "ours"]


def work(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COURSE_SCALE": "cpu"}
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    done = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """What a run gave that was never stopped, and what fresh processes gave that went on from each of its steps."""
    root = tmp_path_factory.mktemp("runs")
    work("unbroken", root)
    if hasattr(os, "fork"):
        work("resumed", root, *range(STEPS + 1))
    else:
        for k in range(STEPS + 1):
            work("resumed", root, k)
    return root


def result(folder):
    return read(whole(folder)[-1])


def leaves(state, path=""):
    """Every value of a state by its path; tensors and floats as their bytes, so that a nan is a nan."""
    if isinstance(state, dict):
        return {name: leaf for key in state for name, leaf in leaves(state[key], f"{path}/{key!r}").items()}
    if isinstance(state, list | tuple):
        return leaves(dict(enumerate(state)), path)
    if isinstance(state, torch.Tensor):
        return {path: (state.dtype, state.shape, bytes(state.reshape(-1).view(torch.uint8).tolist()))}
    return {path: struct.pack("d", state) if isinstance(state, float) else state}


@pytest.mark.parametrize("k", range(STEPS + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_from_any_step_gives_the_same_bits(kind, k, finished):
    """Weights, buffers, optimizer, average, loss scale, random generators, place in the data, every logged number."""
    unbroken, resumed = result(finished / kind / "unbroken"), result(finished / kind / f"resumed {k}")
    assert leaves(resumed["run"]) == leaves(unbroken["run"])
    assert leaves(resumed["rows"]) == leaves(unbroken["rows"])
    assert [row["step"] for row in unbroken["rows"]] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_logging_and_saving_change_nothing(kind, finished):
    """Down to the random generators."""
    assert leaves(result(finished / kind / "bare")["run"]) == leaves(result(finished / kind / "unbroken")["run"])


def test_the_runs_had_all_the_state_that_they_should_have_kept(finished):
    """Momentum, second moments, dropout, skipped steps: without these the tests above would show little."""
    momentum, ours = (result(finished / kind / "unbroken") for kind in ("momentum", "ours"))
    names = " ".join(leaves(momentum["run"])) + " ".join(leaves(ours["run"]))
    for name in ("'momentum_buffer'", "'exp_avg_sq'", "running_mean", "'num_updates'", "'scale'", "'generators'"):
        assert name in names
    assert {row["skipped"] for row in ours["rows"]} == {0.0, 1.0}
    assert len({row["loss"] for row in momentum["rows"]}) == STEPS
