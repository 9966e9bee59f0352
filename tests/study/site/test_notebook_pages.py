"""A notebook as a page: what is added, what is replaced, and that its outputs stay as they are stored."""

import json

import pytest

from course_lib.study.exercises import Exercise
from course_lib.study.site.notebook_pages import Extras, notebook_page, raw_html, with_site_links

SITE = {"01_risk", "05_loop"}


def doubled(x):
    """Return twice ``x``."""
    return 2 * x


EXERCISE = Exercise(
    id="05.1",
    title="Double",
    difficulty=1,
    minutes=5,
    solution=doubled,
    cases=lambda rng: (int(rng.integers(9)),),
    oracle=lambda x: x + x,
    hints=("Think of *two*.", "Multiply."),
)


def code(source, *outputs):
    return {"cell_type": "code", "id": "c", "metadata": {}, "source": source, "outputs": list(outputs)}


def markdown(source):
    return {"cell_type": "markdown", "id": "m", "metadata": {}, "source": source}


@pytest.fixture
def page(tmp_path):
    def make(*cells, intro=""):
        path = tmp_path / "05_loop.ipynb"
        path.write_text(json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        extras = Extras("<p>the quiz</p>", "<p>the cards</p>", {"05.1": EXERCISE}, intro)
        return notebook_page(path, extras, SITE)["cells"]

    return make


def test_the_study_cell_becomes_the_two_panels(page):
    title, study = page(markdown("# 05 A loop"), code('quiz("05")\ncards("05")'))
    assert title["source"] == "# 05 A loop"
    assert study["cell_type"] == "markdown"
    assert study["source"] == f"{raw_html('<p>the quiz</p>')}\n\n{raw_html('<p>the cards</p>')}"


def test_a_call_in_the_middle_of_other_code_is_not_the_study_cell(page):
    (cell,) = page(code("flash = x.cards(1)"))
    assert cell["cell_type"] == "code"


def test_the_intro_stands_below_the_title_once(page):
    cells = page(markdown("# 05 A loop"), markdown("## One"), intro="listen")
    assert [cell["source"] for cell in cells] == ["# 05 A loop", "listen", "## One"]


def test_a_figure_gets_the_text_that_is_stored_beside_it(page):
    figure = {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": ["Loss falls\n", "to 0.3."]}}
    (cell,) = page(code("show(fig, alt)", figure))
    assert cell["metadata"]["mystnb"] == {"image": {"alt": "Loss falls to 0.3."}}
    assert cell["outputs"] == [figure]


def test_an_exercise_is_followed_by_hints_and_solution_folded(page):
    stub, help_cell = page(code('def doubled(x):\n    ...\n\n\ncheck("05.1", doubled)\n# hint("05.1")'))
    assert stub["source"].endswith('# hint("05.1")')
    text = help_cell["source"]
    assert text.index("Hint 1 of 2") < text.index("Think of *two*.") < text.index("Hint 2 of 2")
    assert text.index("A solution") < text.index("    return 2 * x")
    assert text.count("<details>") == text.count("</details>") == 3


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("see [01](01_risk.ipynb)", "see [01](01_risk.ipynb)"),
        ("see [2](01_risk.ipynb#2.-Two-averages)", "see [2](01_risk.ipynb#2-two-averages)"),
        ("see [2](01_risk.ipynb#2-two-averages)", "see [2](01_risk.ipynb#2-two-averages)"),
        ("see [07 later](07_later.ipynb) on", "see 07 later on"),
        ("see [paper](https://arxiv.org/abs/1708.02002)", "see [paper](https://arxiv.org/abs/1708.02002)"),
    ],
)
def test_links_lead_to_pages_or_become_text(source, expected):
    assert with_site_links(source, SITE) == expected


def test_raw_html_survives_backticks_in_it():
    fenced = raw_html("<pre>```\ncode\n```</pre>")
    first, *middle, last = fenced.split("\n")
    assert first == "`" * 12 + "{raw} html"
    assert last == "`" * 12
    assert middle == ["<pre>```", "code", "```</pre>"]
