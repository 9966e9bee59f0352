"""The recipe: what it writes, that a kill changes nothing, and what it says to a mistake."""

import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from course_lib.loops import Checkpoints, read_log
from course_lib.loops.checkpoints import checkpoint_files
from course_lib.loops.fit_record import FitRecord
from course_lib.recipes import pretrain
from course_lib.recipes.corpus import from_path
from course_lib.recipes.pretraining import pretrain as run_pretraining
from course_lib.recipes.report import Place
from course_lib.zoo import load_folder

EXACT = {"rtol": 0, "atol": 0}
SMALL = shlex.split(
    "--vocab-size 270 --width 16 --layers 1 --heads 2 --context 16 --batch-size 4 --warmup 4 --learning-rate 1e-2 "
    "--device cpu --peak-tflops 0.1 --every 6 --no-progress"
)


@pytest.fixture
def command(monkeypatch, capsys):
    """A function that runs the command in this process and returns its exit code, output and complaints."""

    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["pretrain", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            pretrain.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return start


def place(out):
    return Place(out=out, device=torch.device("cpu"), peak_flops_per_second=1e11, every=10, progress=False)


@pytest.fixture
def finished(text_file, settings, tmp_path):
    corpus = from_path(text_file, validation_share=0.2, seed=0)
    return run_pretraining(corpus, settings, place(tmp_path / "run"), name="small", recipe="by hand")


class TestWhatItWrites:
    def test_the_folder_holds_the_model(self, finished, tmp_path):
        back = load_folder(tmp_path / "run" / "model")
        assert_close(back.model.state_dict(), finished.model.state_dict(), **EXACT)
        assert (back.card, back.tokenizer) == (finished.card, finished.tokenizer)

    def test_the_card_holds_for_the_weights_beside_it(self, finished, text_file, tmp_path):
        """The oracle cuts the text itself, and takes one window after another."""
        back = load_folder(tmp_path / "run" / "model", dtype=torch.float64)
        text = text_file.read_text()
        held_out = text[round(0.8 * len(text)) :]
        stream = [0, *back.tokenizer.encode(held_out), 0]
        nats = 0.0
        for first in range(0, len(stream) - 1, 16):
            window = torch.tensor(stream[first : first + 17])
            logits = back.model(window[None, :-1])[0]
            nats -= logits.log_softmax(-1).gather(1, window[1:, None]).sum().item()
        found = back.card.validation
        assert found["num_tokens"] == len(stream) - 1
        assert found["num_bytes"] == len(held_out)
        assert found["nats_per_token"] == pytest.approx(nats / (len(stream) - 1), abs=1e-4)  # float32, four digits
        assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(held_out), abs=1e-4)

    def test_it_has_learnt(self, finished):
        assert finished.card.validation["nats_per_token"] < 0.8 * math.log(270)
        trigram = finished.card.baselines["interpolated Kneser-Ney trigram"]
        assert trigram["bits_per_byte"] / trigram["nats_per_token"] == pytest.approx(
            finished.card.validation["bits_per_byte"] / finished.card.validation["nats_per_token"], rel=1e-3
        )

    def test_averaged_weights_are_the_result_where_asked_for(self, text_file, settings, tmp_path):
        corpus = from_path(text_file, validation_share=0.2, seed=0)
        chosen = replace(settings, ema=0.9)
        found = run_pretraining(corpus, chosen, place(tmp_path / "run"), name="a", recipe="")
        state = checkpoint_files.read(Checkpoints(tmp_path / "run" / "checkpoints").newest())["shared"]["run"]
        average = {name: weight.bfloat16().float() for name, weight in state["ema"]["model"].items()}
        assert_close(found.model.state_dict(), average, **EXACT)


class TestCommand:
    def test_killed_and_started_again_it_ends_with_the_same_bits(self, text_file, command, tmp_path):
        arguments = ["--text", str(text_file), *SMALL, "--steps", "200", "--every", "20", "--dropout", "0.1"]
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        broken = tmp_path / "broken"
        process = subprocess.Popen(
            [sys.executable, "-m", "course_lib.recipes.pretrain", *arguments, "--out", str(broken)],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not list((broken / "checkpoints").glob("0*_step_*")):
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (broken / "model").exists()
        assert command(*arguments, "--out", broken)[0] == 0
        assert command(*arguments, "--out", tmp_path / "unbroken")[0] == 0
        files = [(tmp_path / name / "model" / "weights.safetensors").read_bytes() for name in ("broken", "unbroken")]
        assert files[0] == files[1]
        losses = [read_log(tmp_path / name / "log.jsonl").column("loss") for name in ("broken", "unbroken")]
        assert losses[0] == losses[1]
        assert len(losses[0]) == 200

    def test_it_prints_samples_scores_and_speed(self, text_file, command, tmp_path, monkeypatch):
        monkeypatch.setattr("course_lib.recipes.speed_log._LEAST_SECONDS", 0.0)
        code, out, _ = command("--text", text_file, *SMALL, "--steps", "12", "--out", tmp_path / "run")
        card = load_folder(tmp_path / "run" / "model").card
        assert code == 0
        assert card.name == "run"
        assert card.recipe.startswith(f"python -m course_lib.recipes.pretrain --text {text_file} --vocab-size 270")
        for said in (*card.samples, "model: ", "Kneser-Ney trigram: ", " tokens a second, MFU "):
            assert said in out
        assert card.training["of_peak_flops_per_second"] == "1e+11"

    def test_python_text_and_a_stream(self, text_file, command, tmp_path, lines):
        table = tmp_path / "rows.jsonl"
        table.write_text("".join(json.dumps({"body": line}) + "\n" for line in lines * 20))
        streamed = ["--text", table, "--text-column", "body", "--stream", "--accumulate", "2", "--schedule", "wsd"]
        for name, source in {"a": streamed, "b": ["--python-text", "--max-bytes", "20000"]}.items():
            code, _, err = command(*source, *SMALL, "--steps", "6", "--out", tmp_path / name)
            assert (code, err.split("pretrain:")[1:]) == (0, [])
        cards = [load_folder(tmp_path / name / "model").card for name in "ab"]
        assert "streamed; the first 1,000 documents are held out" in cards[0].data
        assert cards[1].data_licence.startswith("PSF-2.0")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "say where the text comes from, by one of --text, --hub, --python-text, --tales and --sums"),
            (["--python-text", "--tales", "5"], "say where the text comes from"),
            (["--text", "nowhere.txt"], r"found nothing there"),
            (
                ["--python-text", "--steps", "3", "--warmup", "3"],
                r"warmup must be at least 0 and less than steps \(3\)",
            ),
            (["--python-text", "--heads", "3"], "3"),
            (["--python-text", "--learning-rate", "0"], "learning_rate must be positive"),
            (["--python-text", "--device", "mps"], "finds no mps device here"),
            (["--python-text", "--stream"], "--stream is for --text and --hub"),
            (["--tales", "5", "--held-out", "0.1"], "--held-out is for --text and --hub"),
            (["--python-text", "--text-column", "text"], "--text-column is for --text and --hub"),
            (["--text", "a.txt", "--hub-config", "small"], "--hub-config is for --hub"),
            (["--tales", "5", "--max-bytes", "9"], "--max-bytes is for --python-text"),
            (["--tales", "5", "--digits", "3"], "--digits is for --sums"),
            (["--python-text", "--operations", "+-"], "--operations is for --sums"),
            (["--text", "a.txt", "--worked", "0.5"], "--worked is for --sums"),
            (["--sums", "50", "--worked", "2"], "must lie between 0 and 1, got 2"),
            (["--sums", "50", "--tales", "50"], "say where the text comes from"),
            (["--text", "a.txt", "--stream", "--held-out", "0.1"], "--held-out does not apply with --stream"),
            (["--python-text", "--peak-tflops", "0"], "--peak-tflops must be positive and finite, got 0.0"),
            (["--python-text", "--peak-tflops", "-1"], "--peak-tflops must be positive and finite"),
            (["--python-text", "--peak-tflops", "nan"], "--peak-tflops must be positive and finite"),
            (["--python-text", "--every", "0"], "every must be at least 1, got 0"),
            (["--python-text", "--workers", "0"], "num_workers must be at least 1, got 0"),
            (["--python-text", "--max-grad-norm", "0"], "max_grad_norm must be positive"),
            (["--python-text", "--vocab-size", "256"], "vocab_size must be at least 257"),
        ],
    )
    def test_a_mistake_is_one_line_and_code_2(self, command, tmp_path, arguments, message):
        code, _, err = command(*SMALL, *arguments, "--out", tmp_path / "run")
        assert code == 2
        assert re.fullmatch(rf"pretrain: .*{message}.*\n", err)

    def test_out_that_is_a_file_is_said(self, text_file, command):
        for out in (text_file, text_file / "below"):
            code, _, err = command("--text", text_file, *SMALL, "--out", out)
            assert code == 2
            assert re.fullmatch(rf"pretrain: .*{re.escape(str(text_file))}.*\n", err)

    def test_another_setting_in_the_same_folder_is_refused(self, text_file, command, tmp_path):
        first = ["--text", text_file, *SMALL, "--steps", "6", "--out", tmp_path / "run"]
        assert command(*first)[0] == 0
        code, _, err = command(*first, "--dropout", "0.5")
        assert code == 2
        assert "dropout was 0.0 and is 0.5" in err
        text_file.write_text(text_file.read_text() + "More.\n")
        assert "data was" in command(*first)[2]

    def test_another_vocabulary_in_the_same_folder_is_refused(self, text_file, command, tmp_path):
        first = ["--text", text_file, *SMALL, "--steps", "6", "--out", tmp_path / "run"]
        assert command(*first)[0] == 0
        code, _, err = command(*first, "--vocab-size", "300")
        assert code == 2
        assert "vocab_size was 270 and is 300" in err
        assert command(*first)[0] == 0
        assert "--vocab-size 300" not in load_folder(tmp_path / "run" / "model").card.recipe

    def test_a_vocabulary_larger_than_the_text_gives_can_be_run_again(self, text_file, command, tmp_path):
        first = ["--text", text_file, *SMALL, "--steps", "6", "--out", tmp_path / "run", "--vocab-size", "5000"]
        with pytest.warns(UserWarning, match="no pair occurs"):
            assert command(*first)[0] == 0
        assert command(*first)[0] == 0
        model = load_folder(tmp_path / "run" / "model")
        assert model.tokenizer.vocab_size == model.card.architecture["vocab_size"] < 5000
        assert read_log(tmp_path / "run" / "log.jsonl").settings["vocab_size"] == 5000
        assert command(*first, "--vocab-size", model.tokenizer.vocab_size)[0] == 2

    @pytest.mark.parametrize(
        ("stop", "said"),
        [
            (4, "interrupted after 4 of 12 updates, before the first checkpoint: a rerun begins anew."),
            (8, "interrupted after 8 of 12 updates: a rerun goes on from the checkpoint at update 6."),
        ],
    )
    def test_an_interruption_says_where_a_rerun_goes_on(self, text_file, command, tmp_path, monkeypatch, stop, said):
        first = ["--text", text_file, *SMALL, "--steps", "12", "--out"]
        take = FitRecord.take

        def interrupt(record, step):
            if step.index == stop:
                raise KeyboardInterrupt
            take(record, step)

        monkeypatch.setattr(FitRecord, "take", interrupt)
        with pytest.warns(UserWarning, match="interrupted after"):
            code, _, err = command(*first, tmp_path / "broken")
        monkeypatch.setattr(FitRecord, "take", take)
        assert code == 130
        assert f"pretrain: {said}" in err
        assert [command(*first, tmp_path / name)[0] for name in ("broken", "unbroken")] == [0, 0]
        files = [(tmp_path / name / "model" / "weights.safetensors").read_bytes() for name in ("broken", "unbroken")]
        assert files[0] == files[1]

    def test_too_little_text_is_said(self, command, tmp_path):
        (tmp_path / "short.txt").write_text("Very short, but not without words.")
        code, _, err = command("--text", tmp_path / "short.txt", *SMALL, "--out", tmp_path / "run")
        assert code == 2
        assert "windows of 16 tokens, a batch takes 4: give more text" in err


@pytest.mark.parametrize("peak", [0.0, -1.0, math.nan, math.inf])
def test_a_peak_that_cannot_be_is_refused(tmp_path, peak):
    with pytest.raises(ValueError, match="peak_flops_per_second must be positive and finite"):
        replace(place(tmp_path), peak_flops_per_second=peak)


def test_a_gpu_is_measured_by_its_data_sheet(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert pretrain._peak(torch.device("cuda"), "bf16") == 989.4e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Something New")
    with pytest.raises(ValueError, match=r"no data sheet of 'Something New'.*give it as --peak-tflops"):
        pretrain._peak(torch.device("cuda"), "bf16")


def test_the_gpu_setting_steps_at_full_size_on_no_memory(settings):
    """The documented command line, parsed as it stands; weights and arithmetic on the meta device."""
    from course_lib.nn.transformer import Transformer
    from course_lib.recipes.settings import Settings

    words = shlex.split(pretrain.app.registered_commands[0].epilog.split("course_lib.recipes.pretrain ")[1])
    asked = dict(pairwise(words))
    given = Settings(
        architecture="gpt",
        vocab_size=int(asked["--vocab-size"]),
        width=int(asked["--width"]),
        num_layers=int(asked["--layers"]),
        num_heads=int(asked["--heads"]),
        context_length=int(asked["--context"]),
        batch_size=int(asked["--batch-size"]),
        accumulate=int(asked["--accumulate"]),
        steps=int(asked["--steps"]),
        warmup=int(asked["--warmup"]),
        learning_rate=float(asked["--learning-rate"]),
        precision=asked["--precision"],
    )
    with torch.device("meta"):
        model = Transformer(given.config())
        tokens = torch.zeros(given.batch_size, given.context_length, dtype=torch.int64)
        logits = model(tokens)
    assert logits.shape == (32, 1024, 50257)
    assert sum(weight.numel() for weight in model.parameters()) == 124_439_808  # GPT-2's published weights
    assert given.tokens_per_step == 2**19
    assert np.isclose(given.rates(given.warmup), 1.0)
