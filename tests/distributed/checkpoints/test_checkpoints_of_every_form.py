"""Checkpoints on four ranks: saved by a run that is shared in one way, resumed by one that is shared in another."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from course_lib.data import Batches
from course_lib.distributed import (
    DDP,
    FullySharded,
    Pipeline,
    ShardedCheckpoints,
    TensorParallel,
    TransformerStage,
    Zero,
    device_mesh,
    parallelize_transformer,
    split_transformer,
)
from course_lib.loops import Run, next_token, train
from course_lib.nn.transformer import Transformer, gpt

EXACT = {"rtol": 0, "atol": 0}
CLOSE = {"rtol": 1e-10, "atol": 1e-10}  # float64, sums in another order, through Adam
SAVED, STEPS = 2, 4
FORMS = ("ddp", "fsdp tp", "pp", "fsdp", "tp pp", "dtensor tp", "fsdp pp", "tp")  # each goes on as the next one


def data():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 12, (10, 7), generator=generator)
    return tokens[:, :-1], tokens[:, 1:]


def new_run(form, *, seed=0, layers=2):
    """A run with a tied embedding, norms with biases, and two groups in its optimizer."""
    config = gpt(vocab_size=12, width=8, num_layers=layers, num_heads=4, context_length=6, tied=True)
    model = Transformer(config, generator=torch.Generator().manual_seed(seed)).double()
    if form == "alone":
        return run_of(model), None
    mesh = device_mesh(tp=4 if form == "dtensor tp" else 2 if "tp" in form else 1, pp=2 if "pp" in form else 1)
    if "pp" in form:
        model = TransformerStage(model, mesh.get_local_rank("pp"), 2)
    if form in ("dtensor tp", "fsdp tp"):
        parallelize_transformer(model, mesh)
    elif "tp" in form:
        split_transformer(model, mesh)
    engine = None
    if "fsdp" in form:
        engine = FullySharded(model, mesh=mesh["dp"])
    elif "tp" in form:
        engine = TensorParallel(model, mesh)
    if "pp" in form:
        engine = Pipeline(model, mesh, within=engine)
    return run_of(model, gradients=DDP(model) if form == "ddp" else engine), mesh


def run_of(model, **options):
    matrices, rest = ([p for p in model.parameters() if (p.ndim >= 2) == wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return Run(model, next_token, torch.optim.AdamW(groups, lr=0.01), max_grad_norm=0.5, **options)


def go_on(run, mesh, steps):
    place = {} if mesh is None else {"rank": mesh.get_local_rank("dp"), "world_size": mesh["dp"].size()}
    batches = Batches(data(), batch_size=4, seed=2, drop_last=True, **place)
    return torch.stack([s.loss for s in train(run, batches.skip(run.consumed), steps=steps, accumulate=2)])


def worker(me, folder, unbroken):
    for form in FORMS:
        run, mesh = new_run(form)
        go_on(run, mesh, SAVED)
        ShardedCheckpoints(f"{folder}/{form}").save(run)
        losses = go_on(run, mesh, STEPS)
        assert_close(losses, unbroken[SAVED:], **CLOSE)
        check_resumed(f"{folder}/{form}", form, losses, EXACT)
    for saved, form in zip(FORMS, (*FORMS[1:], FORMS[0]), strict=True):
        check_resumed(f"{folder}/{saved}", form, unbroken[SAVED:], CLOSE)
    check_refusals(folder)


def check_resumed(folder, form, losses, tolerance):
    run, mesh = new_run(form, seed=7)
    assert ShardedCheckpoints(folder).resume(run)
    assert (run.index, run.consumed) == (SAVED, 2 * SAVED)
    assert_close(go_on(run, mesh, STEPS), losses, **tolerance)


def check_refusals(folder):
    deep, _ = new_run("pp", layers=3)
    before = {name: value.clone() for name, value in deep.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"the checkpoint has no 'model\.blocks\.2\..*build model and engine as then"):
        ShardedCheckpoints(f"{folder}/ddp").resume(deep)
    assert_close(deep.model.state_dict(), before, **EXACT)
    model = new_run("ddp")[0].model
    zero = Zero(model, stage=1)
    with pytest.raises(ValueError, match=r"the checkpoint has no 'optimizer\."):
        ShardedCheckpoints(f"{folder}/pp").resume(
            Run(model, next_token, torch.optim.AdamW(zero.groups), gradients=zero)
        )
    model = new_run("pp")[0].model
    engine = Pipeline(model, device_mesh(pp=2))
    one_group = Run(model, next_token, torch.optim.AdamW(model.parameters()), gradients=engine)
    with pytest.raises(ValueError, match="the saved optimizer has 2 parameter groups, this run's has 1"):
        ShardedCheckpoints(f"{folder}/tp pp").resume(one_group)


def test_checkpoints_of_every_form(on_two_and_four_ranks, tmp_path):
    unbroken = go_on(*new_run("alone"), STEPS)
    on_two_and_four_ranks(only_four, str(tmp_path), unbroken)
    for form in FORMS:  # on one rank
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "was saved on 4 ranks|.*was saved on 4 ranks")
            check_resumed(f"{tmp_path}/{form}", "alone", unbroken[SAVED:], CLOSE)


def only_four(me, *arguments):
    if torch.distributed.get_world_size() == 4:
        worker(me, *arguments)
