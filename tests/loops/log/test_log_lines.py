"""Reading a log line by line: what is refused and where, what a kill may leave, a file that grows while it is read."""

import json
import math

import pytest
import torch

from course_lib.loops.log.lines import LogLines, json_scalar, json_settings, resolved

HEADER = b'{"format": "course_lib run log", "version": 1, "settings": {}, "started": "2026-01-01T00:00:00+00:00"}\n'


def row(step, **values):
    return json.dumps({"step": step, "wall_seconds": 0.5, **values}).encode() + b"\n"


@pytest.fixture
def lines(tmp_path):
    """A function that writes bytes into a file and reads them."""

    def make(content):
        path = tmp_path / "run.jsonl"
        path.write_bytes(content)
        return LogLines(path)

    return make


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"step,loss\n1,2.5\n", r"run.jsonl, line 1: this is no run log: b'step,loss'"),
        (b'{"step": 1}\n', "line 1: this is no run log; those begin with a header"),
        (b"[1, 2]\n", "line 1: this is no run log"),
        (b"\xff\xfe\n", "line 1: this is no run log"),
        (
            HEADER.replace(b'"version": 1', b'"version": 2'),
            "line 1: the log has format version 2, this course_lib reads 1",
        ),
        (HEADER.replace(b'"settings": {}', b'"settings": 3'), "line 1: the header has no settings"),
        (HEADER + row(1) + b'{"step": 2, "lo\n' + row(3), r"line 3: the line is damaged, .* b'{\"step\": 2, \"lo'"),
        (HEADER + row(1) + b'{"step": 2, "lo' + row(3), "line 3: the line is damaged"),
        (HEADER + b'{"step": 1, "wall_seconds": 0, "loss": NaN}\n', "line 2: the line is damaged"),
        (HEADER + b'{"loss": 1.0}\n', "line 2: expected a row with step and wall_seconds, or a mark of resumption"),
        (HEADER + b'{"step": 1}\n', "line 2: expected a row"),
        (HEADER + b'{"step": true, "wall_seconds": 0}\n', "line 2: expected a row"),
        (HEADER + b'{"resumed": -1}\n', "line 2: expected a row"),
        (HEADER + row(2) + b"\n" + row(2), "line 4: step 2 comes after step 2"),
        (HEADER + row(5) + b'{"resumed": 5}\n' + row(5), "line 4: step 5 comes after step 5"),
    ],
)
def test_faults_are_named_by_line(lines, content, message):
    with pytest.raises(ValueError, match=message):
        lines(content).read()


@pytest.mark.parametrize("cut", range(len(row(2, loss=0.1, note="é"))))
def test_a_last_line_cut_anywhere_counts_whole_or_not_at_all(lines, cut):
    last = row(2, loss=0.1, note="é")
    log = lines(HEADER + row(1) + last[:cut])
    steps = [entry["step"] for entry in log.read()[1:]]
    whole = cut >= len(last) - 1  # all but the newline
    assert steps == ([1, 2] if whole else [1])
    assert log.num_bytes == len(HEADER + row(1)) + (cut if whole else 0)
    assert log.ends_open == whole


def test_a_log_that_grows_is_read_once_wherever_the_reader_comes_in(lines):
    content = HEADER + row(1) + row(2) + b'{"resumed": 1}\n' + row(2, loss=3.0) + row(3)
    log = lines(b"")
    found = []
    for end in range(len(content) + 1):
        log.path.write_bytes(content[:end])
        found += log.read()
        assert log.ends_open == (content[end : end + 1] == b"\n")
    assert found == LogLines(log.path).read()
    assert [entry.get("step", "resumed") for entry in found[1:]] == [1, 2, "resumed", 2, 3]
    log.path.write_bytes(content + b"{\n" + row(4))
    with pytest.raises(ValueError, match="line 7: the line is damaged"):
        log.read()


def test_a_mark_of_resumption_voids_the_rows_after_it():
    entries = [{"step": 1}, {"step": 2}, {"step": 3}, {"resumed": 1}, {"step": 2, "again": 1}, {"resumed": 5}]
    assert resolved(entries) == [{"step": 1}, {"step": 2, "again": 1}]
    assert resolved([*entries, {"resumed": 0}]) == []


def test_non_finite_numbers_travel_as_texts():
    assert [json_scalar(value, "x") for value in (math.nan, math.inf, -math.inf)] == ["NaN", "Infinity", "-Infinity"]
    assert json_settings({"a": [math.inf, {"b": (None, 1)}]}, "settings") == {"a": ["Infinity", {"b": [None, 1]}]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor(1.0), r"loss must be a Python number, .*got Tensor: read it with step.values\(\)"),
        (None, "loss must be .*got NoneType"),
        ([1.0], "loss must be .*got list: convert it with float"),
        ("NaN", "loss: the text 'NaN' would be read back as a number"),
    ],
)
def test_what_is_no_scalar_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        json_scalar(value, "loss")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"model": {"act": [1, torch.relu]}}, r"settings\['model'\]\['act'\]\[1\] must be a Python number"),
        ({"betas": {0: 0.9}}, r"settings\['betas'\]: names must be texts, got 0"),
    ],
)
def test_settings_that_cannot_be_written_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        json_settings(value, "settings")
