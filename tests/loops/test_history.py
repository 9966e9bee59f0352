"""The record of a run: its columns, and a plot that shows exactly them."""

import matplotlib.pyplot as plt
import pytest

from course_lib.loops import History


@pytest.fixture
def history():
    """Ten updates after the hundredth; the last evaluation was interrupted before it had a validation loss."""
    rows = [
        {"step": 105, "loss": 0.75, "grad_norm": 1.0, "validation_loss": 0.8},
        {"step": 110, "loss": 0.25, "grad_norm": 0.5},
    ]
    return History(first_step=100, losses=[index / 10 for index in range(10)], rows=rows, best_step=105)


def test_columns(history):
    assert history.column("step") == [105, 110]
    assert history.column("validation_loss") == [0.8]
    with pytest.raises(ValueError, match="no column 'accuracy'; it has: step, loss, grad_norm, validation_loss"):
        history.column("accuracy")
    with pytest.raises(ValueError, match="no rows yet"):
        History().column("loss")


def test_the_plot_shows_each_number_at_its_step(history):
    _, ax = plt.subplots()
    try:
        assert history.plot(ax) is ax
        lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}
        assert lines["training, each batch"] == (list(range(101, 111)), history.losses)
        assert lines["training, mean"] == ([105, 110], [0.75, 0.25])
        assert lines["validation"] == ([105], [0.8])
        assert lines["weights kept"][0] == [105, 105]
        assert ax.get_xlabel() == "updates"
    finally:
        plt.close("all")


def test_a_run_without_validation_has_no_such_line():
    try:
        ax = History(losses=[1.0], rows=[{"step": 1, "loss": 1.0}]).plot()
        assert [line.get_label() for line in ax.lines] == ["training, each batch", "training, mean"]
    finally:
        plt.close("all")
