"""The runs behind the claims: bands that cover, refusals, and a hash that sees what matters and nothing else."""

import json
import math
import shutil

import numpy as np
import pytest
from scipy import stats

import course_lib
from course_lib.notebook.results import (
    Claim,
    code_hash,
    prediction_interval,
    record,
    render_results,
    run_results,
    stale,
)

GAP = Claim("gap", "gap in nats")


def test_the_band_is_scipys_prediction_interval():
    """For a normal sample (new - mean) / (s sqrt(1 + 1/n)) follows Student's t with n - 1 degrees of freedom."""
    values = [1.0, 4.0, 2.5, 3.0, 2.0, 5.5, 0.5, 3.5]
    spread = np.std(values, ddof=1) * math.sqrt(1 + 1 / 8)
    expected = stats.t(df=7, loc=np.mean(values), scale=spread).interval(0.99)
    assert prediction_interval(values) == pytest.approx(expected, rel=1e-12)
    narrow = stats.t(df=7, loc=np.mean(values), scale=spread).interval(0.8)
    assert prediction_interval(values, 0.8) == pytest.approx(narrow, rel=1e-12)


def test_99_of_100_new_draws_fall_inside():
    """4,000 experiments of 8 seeds and one more: the share inside has a standard error of 0.16 %."""
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 9))
    inside = 0
    for *values, new in draws.tolist():
        low, high = prediction_interval(values)
        inside += low <= new <= high
    assert abs(inside / 4000 - 0.99) < 3 * math.sqrt(0.99 * 0.01 / 4000)


def test_values_that_do_not_vary_leave_room_for_rounding():
    assert prediction_interval([2.0] * 8) == pytest.approx((2 - 2e-6, 2 + 2e-6), abs=1e-12)
    low, high = prediction_interval([0.0] * 8)
    assert low < 0 < high


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], [1.0, math.inf]])
def test_a_band_needs_two_finite_values(values):
    with pytest.raises(ValueError, match="a band needs two or more finite values, got"):
        prediction_interval(values)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A results script in a course of its own."""
    monkeypatch.setenv("COURSE_SCALE", "gpu")  # restored afterwards; recording must not heed it
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "01_risk.py"
    path.write_text('"""What it measures."""\n\nRATE = 0.1  # tuned\n', encoding="utf-8")
    return path


def experiment(seed):
    from course_lib.notebook import scale

    assert scale() == "cpu"
    return {"gap": 1.0 + seed / 10, "gain": 5.0 + seed, "series": {"curve": [seed, seed + 1]}}


def test_recording_stores_what_was_run_and_what_came(script, capsys):
    record(str(script), experiment, [GAP, Claim("gain", "points over the baseline", above=2.0)])
    stored = json.loads(script.with_suffix(".json").read_text(encoding="utf-8"))
    gap = [1.0 + seed / 10 for seed in range(8)]
    assert (stored["notebook"], stored["command"], stored["seeds"]) == (
        "01",
        "python results/01_risk.py",
        [*range(8)],
    )
    assert stored["claims"]["gap"] == {"what": "gap in nats", "values": gap, "band": [*prediction_interval(gap)]}
    gain = stored["claims"]["gain"]
    lowest_mean = stats.ttest_1samp([5.0 + seed for seed in range(8)], 0, alternative="greater")
    assert gain["mean_at_least"] == pytest.approx(lowest_mean.confidence_interval(0.99).low)
    assert gain["above"] == 2.0
    assert stored["series"] == {"curve": [[seed, seed + 1] for seed in range(8)]}
    assert stored["versions"].keys() == {"python", "torch"}
    assert stored["code"] == code_hash(script, stored["code"]["modules"])
    assert capsys.readouterr().out.splitlines()[-2:] == ["seed 7: gap 1.7, gain 12", "wrote 01_risk.json"]


@pytest.mark.parametrize(
    ("seeds", "run", "claims", "message"),
    [
        (range(7), experiment, [GAP], "at least 8 different seeds"),
        ([1] * 8, experiment, [GAP], "at least 8 different seeds"),
        (range(8), experiment, [GAP, GAP], "two claims share a name"),
        (range(8), experiment, [Claim("gapp", "")], "the run with seed 0 gave no value for gapp"),
        (range(8), lambda seed: {"gap": math.nan}, [GAP], "finite values"),
        (range(8), experiment, [Claim("gap", "", above=1.2)], r"gap is not above 1.2: .* mean may be as low as 1\.0"),
    ],
)
def test_runs_that_support_no_claim_are_refused_and_nothing_is_stored(seeds, run, claims, message, script):
    with pytest.raises(ValueError, match=message):
        record(str(script), run, claims, seeds=seeds)
    assert not script.with_suffix(".json").exists()


def test_the_hash_is_blind_to_words_and_layout_only(script):
    original = code_hash(script, [])
    for source, same in [
        ('"""Reworded,\nat length."""\nRATE = (\n    0.1\n)\n', True),
        ("RATE = 0.1", True),
        ("RATE = 0.2", False),
        ("RATE = '0.1'", False),
        ("SPEED = 0.1", False),
        ("RATE = 0.1\nRATE = 0.1", False),
    ]:
        script.write_text(source, encoding="utf-8")
        assert (code_hash(script, []) == original) is same, source


@pytest.mark.parametrize("head", ["class Net:", "def loss(x):", "async def loss(x):"])
def test_the_hash_is_blind_to_every_kind_of_docstring(head, script):
    found = []
    for docstring in ("One.", "Another."):
        script.write_text(f'{head}\n    """{docstring}"""\n    y = [None, "text"]\n', encoding="utf-8")
        found.append(code_hash(script, []))
    script.write_text(f'{head}\n    """One."""\n    y = [None, "other text"]\n', encoding="utf-8")
    assert found[0] == found[1] != code_hash(script, [])


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A stand-in for the package's folder, with one module."""
    (tmp_path / "course_lib" / "losses").mkdir(parents=True)
    (tmp_path / "course_lib" / "losses" / "__init__.py").write_text("", encoding="utf-8")
    module = tmp_path / "course_lib" / "losses" / "contrastive.py"
    module.write_text("TEMPERATURE = 0.1\n", encoding="utf-8")
    monkeypatch.setattr(course_lib, "__file__", str(tmp_path / "course_lib" / "__init__.py"))
    return module


def test_results_are_stale_when_code_they_used_has_changed(script, library):
    def store(modules):
        code = code_hash(script, modules)
        script.with_suffix(".json").write_text(json.dumps({"notebook": "01", "code": code}), encoding="utf-8")

    root = script.parents[1]
    store(["course_lib.losses", "course_lib.losses.contrastive"])
    assert stale(root) == []
    library.write_text("TEMPERATURE = 0.1  # as in the paper\n", encoding="utf-8")
    assert stale(root) == []
    library.write_text("TEMPERATURE = 0.2\n", encoding="utf-8")
    assert stale(root) == ["01"]
    store(["course_lib.losses"])
    assert stale(root) == []
    shutil.rmtree(library.parent)
    assert stale(root) == ["01"]
    script.unlink()
    assert stale(root) == ["01"]


def test_the_page_of_all_results(script):
    record(str(script), experiment, [GAP, Claim("gain", "p(a|b) minus baseline", above=2.0)])
    page = render_results(script.parents[1])
    low, high = prediction_interval([1.0 + seed / 10 for seed in range(8)])
    assert "## 01_risk\n\n`python results/01_risk.py`: 8 seeds in " in page
    assert f"| gap | gap in nats | 1.35 | {low:.4g} to {high:.4g} |  |" in page
    assert r"| gain | p(a\|b) minus baseline | 8.5 |" in page
    assert page.splitlines()[-1].endswith("| 2 |")


@pytest.mark.parametrize("code", [0, 3])
def test_running_anew_takes_a_fresh_process_and_tells_its_exit_code(code, script):
    script.write_text(f"from pathlib import Path\nPath('ran.txt').touch()\nraise SystemExit({code})\n")
    assert run_results(script.parents[1], "01") == code
    assert (script.parents[1] / "ran.txt").exists()
