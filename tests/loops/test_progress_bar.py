"""Progress in a terminal, in a log and in a real Jupyter kernel."""

import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from course_lib.loops.progress_bar import ProgressBar

ROOT = Path(__file__).resolve().parents[2]

TRAINING = """
import time, torch
from course_lib.loops import Run, fit, regression
model = torch.nn.Linear(1, 1)
run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), after_step=[lambda run: time.sleep(0.15)])
history = fit(run, [(torch.ones(4, 1), torch.ones(4, 1))] * 4, steps=4)
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_one_line_at_the_end(capsys):
    bar = ProgressBar(10)
    for done in range(1, 11):
        bar.update(done, f"loss {done}")
    assert capsys.readouterr() == ("", "")
    bar.close("10 updates")
    assert capsys.readouterr() == ("10 updates\n", "")


def test_switched_off_it_says_nothing(capsys):
    bar = ProgressBar(10, enabled=False)
    bar.update(10)
    bar.close("10 updates")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_counts_from_where_the_run_was(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = ProgressBar(10, initial=4)
    bar.update(7, "loss 0.5")
    assert (bar._tqdm.n, bar._tqdm.total, bar._tqdm.postfix) == (7, 10, "loss 0.5")
    assert "4/10" in sys.stderr.getvalue()
    bar.close("6 updates")
    assert capsys.readouterr().out == "6 updates\n"


def test_a_page_keeps_one_line_of_text_without_widget_or_stderr(monkeypatch):
    """The bar was redrawn while it ran (each update takes 0.15 s), yet one plain output is all that stays."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRAINING)])
    updates = []

    class Client(NotebookClient):
        def process_message(self, message, cell, cell_index):
            if message["msg_type"] == "update_display_data":
                updates.append(message["content"]["data"]["text/plain"])
            return super().process_message(message, cell, cell_index)

    Client(page, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    (output,) = page.cells[0].outputs
    assert output.output_type == "display_data"
    assert list(output.data) == ["text/plain"]
    assert output.data["text/plain"].startswith("4 updates in ")
    assert len(updates) >= 2
    assert "2/4" in updates[0]
    assert "widgets" not in page.metadata
