"""Sharded checkpoints on real ranks: the same bits on as many, the same loss on others, whole or not there at all."""

import os
import warnings
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.distributed import DDP, FullySharded, ShardedCheckpoints, Zero
from course_lib.loops import CheckpointError, Checkpoints, Run, classification, fit, train
from course_lib.loops.checkpoints import checkpoint_files, durable_files

EXACT = {"rtol": 0, "atol": 0}
CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64, sums in another order
ENGINES = ["fsdp", "zero 1", "zero 3"]
SAVED, STEPS = 3, 6


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(14, 5, generator=generator).double(), torch.randint(0, 3, (14,), generator=generator)


def batches():
    return Batches(data(), batch_size=4, seed=2)


def new_run(name, seed=0, dropout=0.0, width=7):
    """A width that no number of ranks divides."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, width), nn.Dropout(dropout), nn.Tanh(), nn.Linear(width, 3)).double()
    torch.manual_seed(seed + rank())  # other dropout on each rank
    options = {}
    if name == "ddp":
        options["gradients"] = DDP(model)
    elif name == "fsdp":
        options["gradients"] = FullySharded(model)
    elif name != "plain":
        options["gradients"] = Zero(model, stage=int(name[-1]))
    zero = name.startswith("zero")
    optimizer = torch.optim.AdamW(options["gradients"].groups if zero else model.parameters(), lr=0.05)
    return Run(model, classification, optimizer, **options)


def go_on(run, steps):
    return [step.loss for step in train(run, batches().skip(run.consumed), steps=steps)]


def parameters(run):
    engine = run.gradients
    return engine.whole_parameters() if hasattr(engine, "whole_parameters") else dict(run.model.named_parameters())


def enter_a_world_of(size, me, folder):
    """The first ``size`` of the ranks that were there form a world of their own, each of the others one alone."""
    dist.destroy_process_group()
    name, number, count = ("some", me, size) if me < size else (f"alone_{me}", 0, 1)
    store = dist.FileStore(f"{folder}/{name}_of_{size}", count)
    dist.init_process_group("gloo", store=store, rank=number, world_size=count, timeout=timedelta(seconds=60))


def worker(me, folder, unbroken):
    here = f"{folder}/{world_size()}"
    for name in ENGINES:
        check_same_number_of_ranks(name, f"{here} {name}")
    if world_size() == 2:
        check_what_is_written(f"{here} fsdp")
        check_refusals(me, here)
        check_disk_that_fails(me, here)
        check_the_small_kind(here)
        check_fit(here)
        return
    for name in ENGINES:
        run = new_run(name)
        go_on(run, SAVED)
        ShardedCheckpoints(f"{folder}/from four {name}").save(run)
    for size in (2, 1):
        enter_a_world_of(size, me, folder)
        for name in ENGINES if me < size else ():
            check_other_number_of_ranks(name, f"{folder}/from four {name}", unbroken)


def check_same_number_of_ranks(name, folder):
    """With dropout, whose generators are on each rank others."""
    run = new_run(name, dropout=0.3)
    go_on(run, SAVED)
    path = ShardedCheckpoints(folder).save(run)
    assert path.name == f"000001_step_{SAVED}"
    losses, whole = go_on(run, STEPS), parameters(run)
    again = new_run(name, seed=7, dropout=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert ShardedCheckpoints(folder).resume(again)
    assert again.index == again.consumed == SAVED
    assert_close(go_on(again, STEPS), losses, **EXACT)
    assert_close(parameters(again), whole, **EXACT)


def check_other_number_of_ranks(name, folder, unbroken):
    run = new_run(name, seed=7)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        assert ShardedCheckpoints(folder).resume(run)
    said = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    assert sum(f"saved on 4 ranks, this run has {world_size()}" in one for one in said) == (rank() == 0)
    assert_close(go_on(run, STEPS), unbroken[SAVED:], **CLOSE)


def check_what_is_written(folder):
    """Each rank its own parts, as safetensors; nothing that would have to be unpickled."""
    path = ShardedCheckpoints(folder).newest()
    parts = [f"shard-0000{number}-model-00001-of-00001.safetensors" for number in (1, 2)]
    assert sorted(os.listdir(path)) == ["manifest.json", *parts, "state.json", "tensors.safetensors"]
    assert set(checkpoint_files.check(path)["files"]) == {*parts, "state.json", "tensors.safetensors"}
    dist.barrier()
    if rank() == 0:
        (path / parts[1]).write_bytes(b"damaged")
        with pytest.raises(CheckpointError, match="it was cut short"):
            checkpoint_files.check(path)
    dist.barrier()
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* is whole"):
        ShardedCheckpoints(folder).resume(new_run("fsdp"))


def check_refusals(me, here):
    folder, run = f"{here} refusals", new_run("fsdp")
    assert not ShardedCheckpoints(folder).resume(run)
    run.step(data())
    ShardedCheckpoints(folder).save(run)
    with pytest.raises(ValueError, match=r"holds 000001_step_1 of an earlier run: call resume\(run\) first"):
        ShardedCheckpoints(folder).save(run)
    wide = new_run("fsdp", width=9)
    before = {name: value.clone() for name, value in parameters(wide).items()}
    with pytest.raises(ValueError, match=r"model.0.weight: the checkpoint has \(7, 5\), this run has \(9, 5\)"):
        ShardedCheckpoints(folder).resume(wide)
    assert_close(parameters(wide), before, **EXACT)
    with pytest.raises(ValueError, match=r"the saved run has a sharded '0.weight', this one has not"):
        ShardedCheckpoints(folder).resume(new_run("zero 3"))
    with pytest.raises(ValueError, match=r"holds besides the run \[\], resume got \['critic'\]"):
        ShardedCheckpoints(folder).resume(new_run("fsdp"), critic=nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"is a torch.distributed.tensor.DTensor"):
        Checkpoints(f"{here} plain").save(run)
    plain = new_run("ddp", seed=3)  # whole tensors can take what was saved in parts
    assert ShardedCheckpoints(folder).resume(plain)
    assert_close({n: p.detach() for n, p in plain.model.named_parameters()}, parameters(run), **EXACT)


def check_disk_that_fails(me, here):
    """One rank's disk is full at different moments: all are told, the checkpoint before is still the newest."""
    run, checkpoints = new_run("fsdp"), ShardedCheckpoints(f"{here} full")
    run.step(data())
    whole = checkpoints.save(run)
    run.step(data())

    def full(*_):
        raise OSError(28, "No space left on device")

    for place, module, name in ((0, durable_files, "make_folder"), (1, durable_files, "sync_file")):
        with pytest.MonkeyPatch.context() as patch:
            if me == place:
                patch.setattr(module, name, full)
            with pytest.raises(CheckpointError, match="No space left on device"):
                checkpoints.save(run)
        assert checkpoints.newest() == whole
        dist.barrier()
        assert not [left for left in os.listdir(checkpoints.folder) if left.startswith(".saving")]
    assert checkpoints.save(run).name == "000002_step_2"

    with pytest.MonkeyPatch.context() as patch:  # and one that cannot be read
        if me == 1:
            patch.setattr(HuggingFaceStorageReader, "read_metadata", full)
        with pytest.raises((OSError, CheckpointError), match="No space left on device"):
            checkpoints.resume(run)
    assert checkpoints.resume(run)


def check_the_small_kind(here):
    """ZeRO's parts are plain tensors that differ between ranks: what one rank can hold, Checkpoints saves too."""
    for stage in (1, 2, 3):
        run = new_run(f"zero {stage}")
        go_on(run, SAVED)
        Checkpoints(f"{here} small {stage}").save(run)
        again = new_run(f"zero {stage}", seed=7)
        assert Checkpoints(f"{here} small {stage}").resume(again)
        assert_close(go_on(again, STEPS), go_on(run, STEPS), **EXACT)


def check_fit(here):
    """Run again after it was stopped, a script goes on by itself."""
    folder = f"{here} fit"
    fit(new_run("fsdp"), batches(), steps=SAVED, progress=False, checkpoints=ShardedCheckpoints(folder))
    run = new_run("fsdp", seed=7)
    history = fit(run, batches(), steps=STEPS, progress=False, checkpoints=ShardedCheckpoints(folder))
    assert len(history.losses) == STEPS
    whole = new_run("fsdp")
    assert_close(history.losses, [float(loss) for loss in go_on(whole, STEPS)], **EXACT)


def test_sharded_checkpoints(on_two_and_four_ranks, tmp_path):
    on_two_and_four_ranks(worker, str(tmp_path), go_on(new_run("plain"), STEPS))
