"""SpeedLog: tokens per second and MFU by a clock that the test holds."""

from types import SimpleNamespace

import pytest

from course_lib.loops import read_log
from course_lib.recipes import speed_log
from course_lib.recipes.speed_log import SpeedLog


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log, the run it watches, and the clock it reads."""
    run, clock = SimpleNamespace(index=0), SimpleNamespace(now=100.0)
    with SpeedLog(
        tmp_path / "log.jsonl", run=run, tokens_per_step=50, flops_per_token=6.0, peak_flops_per_second=6000.0
    ) as opened:
        monkeypatch.setattr(speed_log, "time", SimpleNamespace(perf_counter=lambda: clock.now))
        yield opened, run, clock


def columns(log):
    rows = read_log(log.path).rows
    return [(row["step"], row.get("tokens_per_second"), row.get("mfu")) for row in rows]


def test_the_rate_is_that_since_the_last_reading(log):
    opened, run, clock = log
    for step, now in ((1, 100.0), (2, 100.5), (3, 102.0), (4, 102.4), (5, 107.0)):
        run.index, clock.now = step, now
        opened.record(step, loss=1.0)
    slow, fast = 2 * 50 / 5.0, 2 * 50 / 2.0  # steps 4 and 5 in 5 s, steps 2 and 3 in 2 s
    assert columns(opened) == [
        (1, None, None),
        (2, None, None),
        (3, fast, fast * 6 / 6000),
        (4, fast, fast * 6 / 6000),
        (5, slow, slow * 6 / 6000),
    ]


def test_rows_that_are_read_together_count_all_updates_since(log):
    """On a device twenty updates are made before their values are read, one after another at one time."""
    opened, run, clock = log
    run.index = 1
    opened.record(1, loss=1.0)
    run.index, clock.now = 21, 104.0
    for step in range(2, 22):
        opened.record(step, loss=1.0)
    assert {row[1] for row in columns(opened)[1:]} == {20 * 50 / 4.0}
    assert opened.tokens_per_second == 250.0
