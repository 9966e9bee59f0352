"""The README's promises: its examples run as printed, and its links lead somewhere."""

import ast
import contextlib
import io
import re
from pathlib import Path

from course_lib.loops import fingerprint, read_log

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def examples():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_example_is_ten_lines_or_fewer():
    assert len([line for line in examples()[0].splitlines() if line.strip()]) <= 10


def test_the_first_example_runs_and_learns():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(examples()[0], "README.md", "exec"), {})
    loss = ast.literal_eval(printed.getvalue().strip().splitlines()[-1])["loss"]
    assert loss < 0.01  # the best constant has 0.5, the variance of a sine


def test_the_second_example_started_again_has_nothing_left_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = []
    for _ in range(2):
        names = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile("\n".join(examples()), "README.md", "exec"), names)
        weights.append(fingerprint(names["model"]))
        assert names["run"].index == 400
    assert weights[0] == weights[1]
    assert [row["step"] for row in read_log("runs/sine/log.jsonl").rows] == list(range(1, 401))


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
