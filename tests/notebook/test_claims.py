"""A claim holds inside its band and fails outside; nothing is checked at a scale for which nothing is stored."""

import json
import math

import pytest

from course_lib.notebook import ClaimFailed, claim, stored_claim, stored_results

STORED = {
    "claims": {
        "gap": {"what": "gap in nats", "values": [0.9, 1.0, 1.1], "band": [0.5, 1.5]},
        "gain": {"what": "accuracy minus that of the baseline", "values": [2.0] * 8, "band": [-1.0, 5.0], "above": 0.0},
    }
}


@pytest.fixture(autouse=True)
def course(tmp_path, monkeypatch):
    """A course with the stored results of one notebook."""
    for folder in ("flashcards", "results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "flashcards" / "concepts.yaml").write_text("[]\n", encoding="utf-8")
    (tmp_path / "results" / "01_risk.json").write_text(json.dumps(STORED), encoding="utf-8")
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    monkeypatch.setenv("COURSE_SCALE", "cpu")
    monkeypatch.delenv("COURSE_CLAIMS", raising=False)
    return tmp_path


@pytest.mark.parametrize(("value", "written"), [(1.23456, "1.235"), (0.5, "0.500"), (1.5, "1.500")])
def test_inside_the_band_one_rounded_line_is_printed(value, written, capsys):
    claim("01.gap", value)
    assert capsys.readouterr().out == f"01.gap: {written} (band of 3 seeds: 0.500 to 1.500)\n"


@pytest.mark.parametrize("value", [0.4999999, 1.5000001, math.nan, math.inf])
def test_outside_the_band_it_fails(value, capsys):
    with pytest.raises(ClaimFailed, match=r"outside 0\.5 to 1\.5, where 3 stored runs .*course results run 01"):
        claim("01.gap", value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [0.0, -0.5, math.nan])
def test_a_comparison_must_be_won_even_inside_the_band(value):
    with pytest.raises(ClaimFailed, match="does not exceed 0: accuracy minus that of the baseline"):
        claim("01.gain", value)


def test_a_comparison_that_is_won(capsys):
    claim("01.gain", 0.25, digits=1)
    assert capsys.readouterr().out == "01.gain: 0.2 (band of 8 seeds: -1.0 to 5.0)\n"


@pytest.mark.parametrize("scale", ["gpu", "gpu-small"])
def test_at_another_scale_the_number_is_printed_and_not_checked(scale, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", scale)
    claim("01.gap", 99.0)
    assert capsys.readouterr().out == "01.gap: 99.000 (the stored runs are at cpu scale: 0.500 to 1.500)\n"


def test_numbers_are_also_written_where_asked_for_even_those_that_fail(course, monkeypatch):
    monkeypatch.setenv("COURSE_CLAIMS", str(course / "new" / "folder"))
    claim("01.gap", 1.0)
    with pytest.raises(ClaimFailed):
        claim("01.gap", 9.0)
    lines = (course / "new" / "folder" / "claims.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"claim": "01.gap", "value": value, "band": [0.5, 1.5], "scale": "cpu"} for value in (1.0, 9.0)
    ]


def test_what_is_stored_can_be_read():
    assert stored_claim("01.gap") == STORED["claims"]["gap"]
    assert stored_results("01") == STORED


def test_an_unknown_claim_or_notebook_is_named():
    with pytest.raises(ValueError, match=r"no claim '01.gapp': the stored results of notebook 01 have gap, gain"):
        claim("01.gapp", 1.0)
    with pytest.raises(FileNotFoundError, match="nothing for notebook '02'; it has: 01"):
        claim("02.gap", 1.0)
