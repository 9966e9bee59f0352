"""Two ranks save and resume together: each gets its own random numbers and averages back, and fails with the other."""

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.data import Batches
from course_lib.loops import CheckpointError, Checkpoints, Run, classification, train
from course_lib.loops.checkpoints import checkpoint_files

EXACT = {"rtol": 0, "atol": 0}
STEPS = 6


class Diary:
    """State beside the run that is another one on every rank, numbers and texts too."""

    def __init__(self, *notes):
        self.notes = list(notes)

    def state_dict(self):
        return {"notes": self.notes}

    def load_state_dict(self, state):
        self.notes = state["notes"]


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(24, 5, generator=generator), torch.randint(0, 3, (24,), generator=generator)


def new_run(me, seed):
    """The same weights on both ranks; dropout that draws other numbers, so that batch norm's averages differ too."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.BatchNorm1d(8), nn.Linear(8, 3))
    torch.manual_seed(seed + 10 * me)
    return Run(model, classification, torch.optim.Adam(model.parameters(), lr=0.01))


def go_on(run, steps=STEPS):
    for _ in train(run, Batches(data(), batch_size=8, seed=2).skip(run.consumed), steps=steps):
        pass
    return run


def worker(me, folder):
    unbroken = go_on(new_run(me, seed=0))
    drawn = torch.rand(3)
    saved = go_on(new_run(me, seed=0), steps=3)
    checkpoints = Checkpoints(folder)
    path = checkpoints.save(saved, diary=Diary("rank", me))
    assert path == folder / "000001_step_3"

    resumed, diary = new_run(me, seed=7), Diary()
    assert Checkpoints(folder).resume(resumed, diary=diary)
    assert diary.notes == ["rank", me]
    go_on(resumed)
    assert_close(resumed.model.state_dict(), unbroken.model.state_dict(), **EXACT)
    assert_close(resumed.optimizer.state_dict()["state"], unbroken.optimizer.state_dict()["state"], **EXACT)
    assert torch.equal(torch.rand(3), drawn)

    check_only_differences_are_stored_twice(path)
    check_failures(me, checkpoints, saved)
    check_refusals(me, folder)


def check_only_differences_are_stored_twice(path):
    """Weights and Adam's averages are the same on both ranks; running statistics and random states are not."""
    state = checkpoint_files.read(path)
    assert len(state["ranks"]) == 1
    names = sorted(state["ranks"][0]["tensors"])
    statistics = [f"run.model.{layer}.running_{name}" for layer in (1, 3) for name in ("mean", "var")]
    assert names == [*statistics, "run.random.cpu"]
    assert "rank" in json.dumps(state["ranks"][0]["tree"])


def check_failures(me, checkpoints, run):
    """Whichever rank fails, both raise, and the newest checkpoint stays."""
    with pytest.MonkeyPatch.context() as patch:
        if me == 0:
            patch.setattr(checkpoint_files, "write", fails)
        with pytest.raises(CheckpointError, match="the disk is full" if me == 0 else "rank 0: the disk is full"):
            checkpoints.save(run, diary=Diary())
    with pytest.raises(ValueError, match="is a builtins.set" if me == 1 else "rank 1: .* is a builtins.set"):
        checkpoints.save(run, diary=Diary({1}) if me == 1 else Diary())
    assert [path.name for path in checkpoint_files.whole(checkpoints.folder)] == ["000001_step_3"]


def fails(*_):
    raise CheckpointError("the disk is full")


def check_refusals(me, folder):
    checkpoint_files_of_one = folder / "one process"
    if me == 0:
        state = {"world_size": 1, "shared": {"run": {}, "others": {}}, "ranks": []}
        checkpoint_files.write(checkpoint_files_of_one, 1, state)
    with pytest.raises(ValueError, match="was saved by 1 process, this run has 2"):
        Checkpoints(checkpoint_files_of_one).resume(new_run(me, seed=0))
    with pytest.raises(ValueError, match=r"holds 000001_step_3 of an earlier run"):
        Checkpoints(folder).save(new_run(me, seed=0))
    assert not Checkpoints(folder / "empty").resume(new_run(me, seed=0))


def test_two_ranks_resume_with_the_same_bits(on_two_ranks, tmp_path):
    on_two_ranks(worker, tmp_path)
