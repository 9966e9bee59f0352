"""The README's promises: its example runs as printed, and its links lead somewhere."""

import ast
import contextlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def example():
    return re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)


def test_the_example_is_ten_lines_or_fewer():
    assert len([line for line in example().splitlines() if line.strip()]) <= 10


def test_the_example_runs_and_learns():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example(), "README.md", "exec"), {})
    loss = ast.literal_eval(printed.getvalue().strip().splitlines()[-1])["loss"]
    assert loss < 0.01  # the best constant has 0.5, the variance of a sine


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
