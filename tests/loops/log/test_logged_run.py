"""A log as it is read: its columns, and a plot that shows exactly them."""

import matplotlib.pyplot as plt
import pytest

from course_lib.loops.log.logged_run import read_log
from course_lib.loops.log.run_log import RunLog


@pytest.fixture
def logged(tmp_path):
    with RunLog(tmp_path / "run.jsonl") as log:
        log.record(10, loss=0.75)
        log.record(20, loss=0.5, validation_loss=0.25)
        log.record(30, loss=0.25)
    return read_log(tmp_path / "run.jsonl")


def test_a_column_has_the_rows_that_have_it(logged):
    assert logged.column("step") == [10, 20, 30]
    assert logged.column("validation_loss") == [0.25]
    with pytest.raises(ValueError, match="no column 'accuracy'; it has: step, wall_seconds, loss, validation_loss"):
        logged.column("accuracy")


def test_a_log_without_rows_says_so(tmp_path):
    RunLog(tmp_path / "run.jsonl").close()
    with pytest.raises(ValueError, match="no column 'loss'; it has: no rows yet"):
        read_log(tmp_path / "run.jsonl").column("loss")


def test_the_plot_shows_each_number_at_its_step(logged):
    _, ax = plt.subplots()
    try:
        assert logged.plot("loss", "validation_loss", ax=ax) is ax
        lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}
        assert lines == {"loss": ([10, 20, 30], [0.75, 0.5, 0.25]), "validation_loss": ([20], [0.25])}
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("updates", "loss, validation_loss")
        assert logged.plot("loss").get_legend() is None
    finally:
        plt.close("all")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.jsonl"):
        read_log(tmp_path / "absent.jsonl")
