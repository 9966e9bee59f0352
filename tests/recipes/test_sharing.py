"""A recipe on several ranks: the run of one process, a resumption on as many ranks or others, one that goes first."""

import os
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import datasets
import psutil
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import world_size
from course_lib.distributed import process_group
from course_lib.loops import CheckpointError, backprop, read_log
from course_lib.loops.fit_record import FitRecord
from course_lib.recipes.command_line import chosen_device, recipe_line
from course_lib.recipes.corpus import from_path
from course_lib.recipes.pretraining import pretrain
from course_lib.recipes.report import Place
from course_lib.recipes.sharing import check_sharing, engine_for, first_alone
from course_lib.zoo import load_folder

EXACT = {"rtol": 0, "atol": 0}


def train(text, settings, out, parallel=None, *, tp=1, until=None, every=5):
    """Pretrain; with ``until`` every rank is interrupted after so many updates."""
    corpus = from_path(text, validation_share=0.2, seed=0)
    place = Place(
        out=out,
        device=torch.device("cpu"),
        peak_flops_per_second=1e11,
        every=every,
        progress=False,
        parallel=parallel,
        tp=tp,
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
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    datasets.disable_progress_bars()
    if world_size() == 4:
        card = train(text, settings, folder / "tp_to_four", "fsdp", tp=2).card
        assert [card.training[name] for name in ("processes", "parallel", "tp")] == [4, "fsdp", 2]
        with pytest.raises(ValueError, match="tp must divide the number of processes, 4, got 3"):
            check_sharing("fsdp", tp=3, batch_size=4, ema=0.0)
        with pytest.raises(ValueError, match="--tp goes with --parallel fsdp"):
            check_sharing("ddp", tp=2, batch_size=4, ema=0.0)
        with pytest.raises(ValueError, match="rows of all processes together, got 1: take 2 at least"):
            check_sharing("fsdp", tp=2, batch_size=1, ema=0.0)
        return
    for parallel in ("ddp", "fsdp", "tp"):
        found = train(text, settings, folder / parallel, parallel)
        again = load_folder(folder / parallel / "model")
        assert found.card == again.card
        assert found.card.training["parallel"] == parallel
        assert found.card.training["processes"] == 2
        assert_close(found.model.state_dict(), again.model.state_dict(), **EXACT)
        broken = folder / f"{parallel}_broken"
        said = train(text, settings, broken, parallel, until=13)
        assert said.endswith("a rerun goes on from the checkpoint at update 10.")
        first_alone(lambda broken=broken: _copied(broken), lambda: None)
        back = train(text, settings, broken, parallel)
        assert_close(back.model.state_dict(), found.model.state_dict(), **EXACT)
    for mistake in (ValueError, OSError):
        with pytest.raises((ValueError, OSError, CheckpointError), match="no flour") as raised:
            first_alone(lambda mistake=mistake: _fail(mistake))
        assert rank == 0 or str(raised.value) == "rank 0: no flour"
        assert isinstance(raised.value, ValueError) == (mistake is ValueError)
    order = folder / "order"
    made = first_alone(lambda: order.write_text("first"), lambda: order.read_text())
    assert made == (5 if rank == 0 else "first")
    check_sharing("tp", tp=1, batch_size=1, ema=0.0)
    with pytest.raises(ValueError, match="rows of all processes together, got 1: take 2 at least"):
        check_sharing(None, tp=1, batch_size=1, ema=0.0)
    with pytest.raises(ValueError, match="take ddp, or ema 0"):
        check_sharing("fsdp", tp=1, batch_size=4, ema=0.9)
    assert chosen_device("auto") == torch.device("cpu")
    assert recipe_line("bake").startswith("torchrun --nproc-per-node 2 -m course_lib.recipes.bake ")


def _copied(broken):
    for name in ("one", "four"):
        shutil.copytree(broken, str(broken).replace("broken", f"to_{name}"))


def _fail(mistake):
    raise mistake("no flour")


def test_on_two_ranks_then_on_four_or_one(on_two_and_four_ranks, text_file, settings, tmp_path):
    on_two_and_four_ranks(on_ranks, tmp_path, text_file, settings)
    alone = train(text_file, settings, tmp_path / "alone").card
    losses = read_log(tmp_path / "alone" / "log.jsonl").column("loss")
    for parallel in ("ddp", "fsdp", "tp"):
        with pytest.warns(UserWarning, match="was saved on 2 ranks, this run has 1"):
            train(text_file, settings, tmp_path / f"{parallel}_to_one")
        for name in (parallel, *(f"{parallel}_{how}" for how in ("broken", "to_one", "to_four"))):
            if name in ("ddp_to_four", "fsdp_to_four"):
                continue
            log = read_log(tmp_path / name / "log.jsonl")
            assert len(log.resumed) == (name != parallel)
            assert log.column("loss") == pytest.approx(losses, rel=2e-6), name
            card = load_folder(tmp_path / name / "model").card
            assert card.validation["num_tokens"] == alone.validation["num_tokens"]
            nats = [each.validation["nats_per_token"] for each in (card, alone)]
            assert nats[0] == pytest.approx(nats[1], abs=2e-3)  # of weights rounded to bf16
            assert card.baselines == alone.baselines


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
        for parallel, tp in (("fsdp", 1), (None, 2)):
            with pytest.raises(ValueError, match="among processes: start the recipe with torchrun"):
                check_sharing(parallel, tp=tp, batch_size=4, ema=0.0)
        check_sharing(None, tp=1, batch_size=1, ema=0.9)
        assert engine_for(None, nn.Linear(1, 1), precision="fp32") is backprop
        assert first_alone(lambda: 7) == 7

    def test_a_group_of_one_has_engines_too(self, monkeypatch):
        for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": 0}.items():
            monkeypatch.setenv(name, str(value))
        with process_group():
            model = nn.Linear(2, 2)
            engine = engine_for("fsdp", model, precision="bf16")
            assert model.weight.device_mesh.size() == 1
            assert engine.over_ranks.summed


def test_the_folder_of_launch_files_travels_with_the_recipes():
    assert (Path(pretrain.__code__.co_filename).parent / "launch").is_dir()
