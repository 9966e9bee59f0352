"""A recipe on several ranks: the run of one process, a resumption on as many ranks or others, one that goes first."""

import os
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import datasets
import psutil
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import world_size
from course_lib.distributed import process_group
from course_lib.loops import CheckpointError, backprop, read_log, regression
from course_lib.loops.fit_record import FitRecord
from course_lib.recipes.command_line import chosen_device, recipe_line
from course_lib.recipes.corpus import from_path
from course_lib.recipes.first_alone import first_alone
from course_lib.recipes.pretraining import pretrain
from course_lib.recipes.report import Place
from course_lib.recipes.sharing import Sharing, share
from course_lib.zoo import load_folder

EXACT = {"rtol": 0, "atol": 0}
FORMS = ("ddp", "fsdp", "tp", "pp")
IN_ANOTHER_FORM = {"ddp": "fsdp", "fsdp": "pp", "tp": "ddp", "pp": "tp"}
ON_FOUR = {
    "ddp": {"parallel": "pp", "pp": 2},
    "fsdp": {"parallel": "fsdp", "tp": 2},
    "tp": {"parallel": "ddp", "tp": 2, "pp": 2},
    "pp": {"parallel": "fsdp", "pp": 2},
}


def train(text, settings, out, *, until=None, every=4, **sharing):
    """Pretrain; with ``until`` every rank is interrupted after so many updates."""
    corpus = from_path(text, validation_share=0.2, seed=0)
    place = Place(
        out=out,
        device=torch.device("cpu"),
        peak_flops_per_second=1e11,
        every=every,
        progress=False,
        sharing=Sharing(**sharing),
    )
    take = FitRecord.take

    def interrupt(record, step):
        if step.index == until:
            raise KeyboardInterrupt
        take(record, step)

    FitRecord.take = interrupt
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "interrupted after")
            return pretrain(corpus, settings, place, name="small", recipe="by hand")
    except KeyboardInterrupt as interruption:
        assert until is not None, "it was not to be interrupted"
        return str(interruption)
    finally:
        FitRecord.take = take


def on_ranks(rank, folder, text, settings):
    torch.compile = partial(torch.compile, backend="eager")  # traces as any, and spares the time of a compiler
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    datasets.disable_progress_bars()
    if world_size() == 4:
        for before, sharing in ON_FOUR.items():
            card = train(text, settings, folder / f"{before}_to_four", **sharing).card
            asked = {name: card.training[name] for name in ("processes", *sharing)}
            assert asked == {"processes": 4, **sharing}
        check_refusals_on_four()
        return
    for parallel in FORMS:
        found = train(text, settings, folder / parallel, parallel=parallel)
        again = load_folder(folder / parallel / "model")
        assert found.card == again.card
        assert found.card.training["parallel"] == parallel
        assert found.card.training["processes"] == 2
        assert_close(found.model.state_dict(), again.model.state_dict(), **EXACT)
        broken = folder / f"{parallel}_broken"
        said = train(text, settings, broken, parallel=parallel, until=9)
        assert said.endswith("a rerun goes on from the checkpoint at update 8.")
        first_alone(lambda broken=broken: _copied(broken), lambda: None)
        back = train(text, settings, broken, parallel=parallel)
        assert_close(back.model.state_dict(), found.model.state_dict(), **EXACT)
        short = replace(settings, precision="bf16", compiled=True, steps=3, warmup=1)
        train(text, short, folder / f"{parallel}_bf16", parallel=parallel)
    for before, after in IN_ANOTHER_FORM.items():
        train(text, settings, folder / f"{before}_to_other", parallel=after)
    for mistake in (ValueError, OSError):
        with pytest.raises((ValueError, OSError, CheckpointError), match="no flour") as raised:
            first_alone(lambda mistake=mistake: _fail(mistake))
        assert rank == 0 or str(raised.value) == "rank 0: no flour"
        assert isinstance(raised.value, ValueError) == (mistake is ValueError)
    order = folder / "order"
    made = first_alone(lambda: order.write_text("first"), lambda: order.read_text())
    assert made == (5 if rank == 0 else "first")
    assert chosen_device("auto") == torch.device("cpu")
    assert recipe_line("bake").startswith("torchrun --nproc-per-node 2 -m course_lib.recipes.bake ")


def check_refusals_on_four():
    for options in ({"tp": 3}, {"pp": 3}, {"tp": 0}):
        ((name, degree),) = options.items()
        with pytest.raises(ValueError, match=f"{name} must divide the number of processes, 4, got {degree}"):
            Sharing(**options)
    with pytest.raises(ValueError, match="tp=4 times pp=2 must divide the number of processes, 4"):
        Sharing(tp=4, pp=2)
    with pytest.raises(ValueError, match="fsdp goes with tp or with pp: take --parallel ddp for all three"):
        Sharing(parallel="fsdp", tp=2, pp=2)
    for options, degrees in (
        ({}, (1, 1, 4)),
        ({"tp": 2}, (2, 1, 2)),
        ({"parallel": "tp"}, (4, 1, 1)),
        ({"parallel": "tp", "pp": 2}, (2, 2, 1)),
        ({"parallel": "pp", "tp": 2}, (2, 2, 1)),
        ({"parallel": "pp", "pp": 2}, (1, 2, 2)),
        ({"parallel": "fsdp", "pp": 2}, (1, 2, 2)),
    ):
        found = Sharing(**options)
        assert (*found.degrees, found.copies) == degrees
    chosen = {"batch_size": 2, "ema": 0.0, "precision": "fp32"}
    Sharing(pp=2).check(**chosen)
    Sharing().check(**chosen | {"batch_size": 4, "ema": 0.9})
    with pytest.raises(ValueError, match="rows of all processes together, got 1: take 2 at least"):
        Sharing(pp=2).check(**chosen | {"batch_size": 1})
    with pytest.raises(ValueError, match="take bf16"):
        Sharing(pp=2).check(**chosen | {"precision": "fp16"})
    for options in ({"parallel": "fsdp"}, {"tp": 2}, {"parallel": "pp"}):
        with pytest.raises(ValueError, match="take ddp without tp or pp, or ema 0"):
            Sharing(**options).check(**chosen | {"batch_size": 4, "ema": 0.9})


def _copied(broken):
    for name in ("one", "four", "other"):
        shutil.copytree(broken, str(broken).replace("broken", f"to_{name}"))


def _fail(mistake):
    raise mistake("no flour")


def test_on_two_ranks_then_on_four_or_one(on_two_and_four_ranks, text_file, settings, tmp_path):
    settings = replace(settings, num_layers=2, accumulate=2, steps=12)
    on_two_and_four_ranks(on_ranks, tmp_path, text_file, settings)
    alone = train(text_file, settings, tmp_path / "alone").card
    losses = read_log(tmp_path / "alone" / "log.jsonl").column("loss")
    for parallel in FORMS:
        with pytest.warns(UserWarning, match="was saved on 2 ranks, this run has 1"):
            train(text_file, settings, tmp_path / f"{parallel}_to_one")
    resumed = [*(f"{form}_{how}" for form in FORMS for how in ("broken", "to_one", "to_four"))]
    for name in (*FORMS, *resumed, *(f"{form}_to_other" for form in IN_ANOTHER_FORM)):
        log = read_log(tmp_path / name / "log.jsonl")
        assert [mark["resumed"] for mark in log.resumed] == ([] if name in FORMS else [8])
        assert log.column("loss") == pytest.approx(losses, rel=2e-6), name
        card = load_folder(tmp_path / name / "model").card
        assert card.validation["num_tokens"] == alone.validation["num_tokens"]
        nats = [each.validation["nats_per_token"] for each in (card, alone)]
        assert nats[0] == pytest.approx(nats[1], abs=2e-3)  # of weights rounded to bf16
        assert card.baselines == alone.baselines
        watched = log.column("validation_loss")
        assert watched == pytest.approx(read_log(tmp_path / "alone" / "log.jsonl").column("validation_loss"), rel=2e-6)
    short = replace(settings, precision="bf16", steps=3, warmup=1)
    train(text_file, short, tmp_path / "bf16")
    losses = read_log(tmp_path / "bf16" / "log.jsonl").column("loss")
    for parallel in FORMS:
        assert read_log(tmp_path / f"{parallel}_bf16" / "log.jsonl").column("loss") == pytest.approx(losses, rel=1e-3)


def test_a_process_killed_in_mid_run_is_replaced(text_file, settings, tmp_path):
    """kill -9 of one of two; torchrun starts both anew, and they go on from the last whole checkpoint."""
    settings = replace(settings, steps=300)
    asked = {"--steps": 300, "--every": 20, "--batch-size": 4, "--learning-rate": 1e-2, "--warmup": 4, "--heads": 2}
    asked |= {"--vocab-size": 270, "--width": 16, "--layers": 1, "--context": 16, "--held-out": 0.2}
    asked |= {"--peak-tflops": 0.1, "--device": "cpu", "--text": text_file, "--out": tmp_path / "run"}
    words = [str(word) for pair in asked.items() for word in pair]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1"]
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "course_lib.recipes.pretrain"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [*torchrun, *words, "--no-progress"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            stdout=said,
            stderr=said,
        )
    try:
        while not list((tmp_path / "run" / "checkpoints").glob("0*_step_*")):
            assert process.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.002)
        victim = next(each for each in psutil.Process(process.pid).children() if each.environ().get("RANK") == "1")
        victim.kill()
        assert process.wait(timeout=200) == 0, (tmp_path / "said").read_text()
    finally:
        for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            each.kill()
        process.kill()
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert [mark["resumed"] % 20 for mark in log.resumed] == [0]  # once, from a checkpoint
    assert 0 < log.resumed[0]["resumed"] < 300
    train(text_file, settings, tmp_path / "alone", every=20)
    losses = read_log(tmp_path / "alone" / "log.jsonl").column("loss")
    assert len(losses) == 300
    assert log.column("loss") == pytest.approx(losses, rel=1e-4)
    assert load_folder(tmp_path / "run" / "model").card.recipe.startswith("torchrun --nproc-per-node 2 -m course_lib.")


class TestInOneProcess:
    def test_there_is_nothing_to_share(self):
        for options in ({"parallel": "fsdp"}, {"tp": 2}, {"pp": 1}):
            with pytest.raises(ValueError, match="among processes: start the recipe with torchrun"):
                Sharing(**options)
        alone = Sharing()
        alone.check(batch_size=1, ema=0.9, precision="fp16")
        assert alone.card() == {}
        model = nn.Linear(1, 1)
        shared = share(model, alone)
        assert shared.gradients is backprop
        assert shared.whole() is shared.model is model
        assert shared.objective(regression) is regression
        assert first_alone(lambda: 7) == 7

    def test_a_group_of_one_has_engines_too(self, monkeypatch):
        for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": 0}.items():
            monkeypatch.setenv(name, str(value))
        with process_group():
            model = nn.Linear(2, 2)
            weight = model.weight.detach().clone()
            shared = share(model, Sharing(parallel="fsdp"), param_dtype=torch.bfloat16)
            assert model.weight.device_mesh.size() == 1
            assert shared.gradients.over_ranks.summed
            assert_close(shared.whole().weight.detach(), weight, **EXACT)


def test_the_folder_of_launch_files_travels_with_the_recipes():
    assert (Path(pretrain.__code__.co_filename).parent / "launch").is_dir()
