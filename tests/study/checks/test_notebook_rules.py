"""Each rule about notebooks: a page that breaks exactly it draws exactly one complaint, which names the place."""

import pytest

SHOW = "show()"  # the cell with the figure
VIEW = "application_vnd.jupyter.widget-view+json"
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}


def _outputs(course, start=SHOW):
    return course.cell(start)["outputs"]


def _replace(course, start, old, new):
    cell = course.cell(start)
    source = "".join(cell["source"])
    assert old in source
    cell["source"] = source.replace(old, new).splitlines(keepends=True)


def _steps(num_prose, num_code):
    """Put other cells in the place of the page's twenty steps, run in order."""

    def change(course):
        cells = course.notebook["cells"]
        first, after = cells.index(course.cell("Step 1.")), cells.index(course.cell("## What goes wrong"))
        text = {"cell_type": "markdown", "metadata": {}, "source": ["Words."]}
        code = {"cell_type": "code", "metadata": {}, "source": ["x = 1"], "outputs": [], "execution_count": 0}
        new = [text] * num_prose + [code] * num_code
        cells[first:after] = [cell | {"id": f"new-{k}"} for k, cell in enumerate(new)]
        for count, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), start=1):
            cell["execution_count"] = count

    return change


def _swap(course, first, second):
    cells = course.notebook["cells"]
    a, b = cells.index(course.cell(first)), cells.index(course.cell(second))
    cells[a], cells[b] = cells[b], cells[a]


def _print(text):
    def change(course):
        _outputs(course, "print(0)")[0]["text"] = [text]

    return change


def _figure(**data):
    def change(course):
        kept = _outputs(course)[0]["data"] | {name.replace("_", "/", 1): value for name, value in data.items()}
        _outputs(course)[0]["data"] = {name: value for name, value in kept.items() if value is not None}

    return change


def _needs_a_later_one(course):
    _course(needs=["00", "02"])(course)
    _replace(course, "# 01", "| 00 |", "| 00, 02 |")


def _course(**values):
    def change(course):
        course.notebook["metadata"]["course"].update(values)

    return change


def _source(start, old, new):
    return lambda course: _replace(course, start, old, new)


def _setting(tag):
    def change(course):
        course.cell("print(3)").update(source=["s = setting(cpu={}, gpu={})"], metadata={"tags": [tag]})

    return change


def _without_the_library(course):
    for cell in course.notebook["cells"]:
        cell["source"] = [line.replace("from course_lib", "from numpy") for line in cell["source"]]


def _second_exercise(old, new):
    def change(course):
        cell = [cell for cell in course.notebook["cells"] if "def double" in "".join(cell["source"])][1]
        cell["source"] = "".join(cell["source"]).replace(old, new).splitlines(keepends=True)

    return change


def _cell(start, **values):
    return lambda course: course.cell(start).update(values)


OUTPUTS = {
    "a cell that was not run": (_cell("print(0)", execution_count=None), "was not run"),
    "cells out of order": (_cell("print(0)", execution_count=2), "not run in order: In [2] where In [3]"),
    "an empty cell": (_cell("Step 7.", source=[]), "the cell is empty"),
    "stderr": (lambda c: _outputs(c, "print(0)")[0].update(name="stderr"), "output on stderr"),
    "a warning": (_print("UserWarning: old\n"), "a stored warning: 'UserWarning: old"),
    "a temporary folder": (_print("saved to /tmp/x/model.pt\n"), "a path of one machine: '/tmp/'"),
    "a home": (_print("in /Users/ada/course\n"), "a path of one machine"),
    "another absolute path": (_print("reads /data/mnist/train\n"), "a path of one machine: '/data/mnist'"),
    "a Windows path": (_print("C:\\Users\\ada\n"), "a path of one machine"),
    "site-packages": (_print("lib/site-packages/torch\n"), "a path of one machine"),
    "a path in code": (_source("print(0)", "0", "open('/tmp/x')"), "names a folder of one machine: /tmp/"),
    "a date with its time": (_print("2026-01-02T03:04:05\n"), "a time of day"),
    "a time of day": (_print("done at 14:05\n"), "a time of day"),
    "an elapsed clock": (_print("took 0:01:07\n"), "a time of day"),
    "an address": (_print("<Model object at 0x7f3a2b1c>\n"), "an object's repr"),
    "a matplotlib repr": (_print("[<matplotlib.lines.Line2D>]\n"), "an object's repr"),
    "no alternative": (_figure(text_plain=None), "text alternative is missing"),
    "a repr as alternative": (_figure(text_plain="Figure(640x480)"), "text alternative is a repr"),
    "a short alternative": (_figure(text_plain="Error falls."), "too short (12 characters; 40 or more)"),
    "no sentence": (_figure(text_plain="test error against the degree of the polynomial"), "no whole sentence"),
    "a widget": (_figure(**{VIEW: {}}), "a widget is stored"),
    "widget state": (lambda c: c.notebook["metadata"].update(widgets={}), "widget state is stored"),
    "a time of execution": (_cell("print(3)", metadata={"execution": {}}), "the cell's metadata holds execution"),
    "a stored error": (lambda c: _outputs(c, "print(0)").append(ERROR), "a stored error, ValueError"),
    "a large notebook": (_print("word " * 200_000), "KB, more than 1000"),
    "a large figure": (_figure(image_png="A" * 80_008), "a figure of 60 KB"),
    "another kind of figure": (_figure(image_jpeg="AAAA"), "stored as image/jpeg"),
}
SHAPE = {
    "too few cells": (_steps(16, 17), "54 cells; a notebook has 55 to 90"),
    "too many cells": (_steps(33, 37), "91 cells; a notebook has 55 to 90"),
    "too much prose": (_steps(33, 10), "% of the cells are prose; 40 to 65 should be"),
    "too little prose": (_steps(4, 34), "% of the cells are prose; 40 to 65 should be"),
    "a long cell": (_source("print(0)", "print(0)", "print(0)\n" * 26), "a code cell of 26 lines"),
    "an emoji": (_source("Step 3.", "Step", "\U0001f680 Step"), "an emoji"),
    "no title": (_source("# 01", "# 01", "## 01"), "the first cell has no title"),
    "two titles": (_source("Step 3.", "Step", "# Step"), "2 headings of the first level"),
    "another title": (_source("# 01", "Curves", "Lines"), "is not the metadata's 'Curves'"),
    "no table": (_source("# 01", "reading", "length"), "no table of reading and compute time"),
    "another time": (_source("# 01", "12 s", "13 s"), "the metadata's compute_seconds (12)"),
    "needs unnamed": (_source("# 01", "| 00 |", "| nothing |"), "does not name notebook 00"),
    "no objectives": (_source("## Objectives", "Objectives", "Aims"), "no part 'objectives'"),
    "no question": (_source("## The question", "question", "puzzle"), "no part 'the question'"),
    "no prediction": (_source("**Predict.**", "Predict", "Think"), "no part 'predict'"),
    "an unanswered prediction": (
        _source("## In short", "- a", "**Predict** it.\n\n- a"),
        "a prediction that no code answers",
    ),
    "nothing goes wrong": (_source("## What", "goes wrong", "breaks"), "no part 'what goes wrong'"),
    "no scale": (_source("## At", "scale", "work"), "no part 'at scale'"),
    "no exercises": (_source("## Exercises", "Exercises", "Tasks"), "no part 'exercises'"),
    "no quiz": (_source("## Quiz", "Quiz and cards", "Test"), "no part 'quiz and cards'"),
    "no summary": (_source("## In short", "In short", "Summary"), "no part 'in short'"),
    "no reading": (_source("## Read", "next", "on"), "no part 'read next'"),
    "out of order": (lambda c: _swap(c, "## What goes", "## At scale"), "'at scale' is out of order"),
    "two objectives": (_source("## Objectives", "- Fit.\n", ""), "is a list of 2, not of 3 to 6"),
    "six lines in short": (_source("## In short", "- e", "- e\n- f"), "is a list of 6, not of 5"),
    "no source": (_source("## At scale", " (2020)", ""), "names no source"),
    "no year": (_source("## Read", "2020, ", ""), "has an entry without a year"),
    "no difficulty": (_source("### Exercise 01.2", "difficulty 1 of 5, ", ""), "names no difficulty"),
    "two exercises": (_source("### Exercise 01.2", "### ", ""), "2 exercises under 'Exercises'"),
}
METADATA = {
    "no outcome": (_course(outcome=None), "metadata.course.outcome must be str"),
    "minutes in words": (_course(reading_minutes="40"), "metadata.course.reading_minutes must be int"),
    "another number": (_course(number="02"), "metadata.course.number is '02', notebooks/plan.yaml says '01'"),
    "another outcome": (_course(outcome="Fit two."), "metadata.course.outcome is 'Fit two.'"),
    "needs a later one": (_needs_a_later_one, "metadata.course.needs names '02'"),
    "an id twice": (_cell("Step 3.", id="cell-0"), "the id 'cell-0' is that of cell 1 too"),
    "no id": (lambda c: c.cell("Step 3.").pop("id"), "the cell has no id"),
    "no valid notebook": (_cell("Step 3.", outputs=[]), "it is no valid notebook"),
    "another kernel": (lambda c: c.notebook["metadata"]["kernelspec"].update(name="mine"), "not in the form in which"),
    "pieces of a stream": (
        lambda c: _outputs(c, "print(0)").append({"output_type": "stream", "name": "stdout", "text": ["more\n"]}),
        "not in the form in which",
    ),
}
CODE = {
    "an undeclared package": (
        _source("print(0)", "print", "import torchvision\nprint"),
        "imports torchvision, which is",
    ),
    "a file of its own": (_source("print(0)", "print", "from .loop import Run\nprint"), "imports ., which is not"),
    "nothing of the library": (_without_the_library, "it imports nothing from course_lib"),
    "no Python": (_source("print(0)", "0)", "0"), "the code is no Python"),
    "an unknown tag": (_cell("print(3)", metadata={"tags": ["nbval-check-outputs"]}), "the tag 'nbval-check-outputs'"),
    "a hidden skip": (_source("print(3)", "print", "# NBVAL_SKIP\nprint"), "the comment '# NBVAL_SKIP' steers"),
    "nothing compared": (_cell("print(0)", metadata={}), "no cell has its output compared"),
    "no gpu step": (_setting("gpu-build"), "no cell is tagged gpu-step"),
    "no gpu build": (_setting("gpu-step"), "no cell is tagged gpu-build"),
    "a broken link": (_source("Step 3.", "Step", "[Step](07_gone.ipynb)"), "the link to '07_gone.ipynb' leads nowhere"),
    "another title": (_source("Step 3.", "Step", "[01 Lines](01_curves.ipynb)"), "calls it 'Lines'. Its title is"),
    "no such section": (_source("Step 3.", "Step", "[Step](#Gone)"), "names a section that 01_curves.ipynb does not"),
    "this machine": (_source("Step 3.", "Step", "[Step](http://localhost:8888)"), "leads to this machine"),
    "a picture without words": (_source("Step 3.", "Step", "![](../README.md)"), "has no text alternative"),
    "a picture that is not there": (_source("Step 3.", "Step", "![A curve](attachment:x.png)"), "is not attached"),
    "a picture from elsewhere": (_source("Step 3.", "Step", "![A curve](https://x.org/x.png)"), "missing offline"),
    "no cards": (_source("from course_lib.study", 'cards("01")', ""), "it does not show its flashcards"),
    "another quiz": (_source("from course_lib.study", 'cards("01")', 'cards("01"), quiz("00")'), 'it calls quiz("00")'),
    "an exercise unchecked": (_second_exercise('check("01.2", double)', ""), "exercise 01.2 is not checked"),
    "an exercise without hints": (_second_exercise('# hint("01.2")', ""), "exercise 01.2 offers no hint"),
    "an unknown exercise": (
        _second_exercise('check("01.2"', 'check("01.4", double)\ncheck("01.2"'),
        'check("01.4", ...)',
    ),
    "an unknown claim": (
        _source("import numpy", '"01.gap", 0.5)', '"01.gap", 1); claim("01.x", 1)'),
        'claim("01.x", ...)',
    ),
    "an unclaimed result": (
        _source("import numpy", 'claim("01.gap", 0.5)', "print()"),
        "holds 01.gap, which the notebook",
    ),
    "an undefined concept": (_source("## The question", "**", ""), "the concept 'overfitting' is not defined"),
}


def test_a_good_course_draws_no_complaint(course):
    assert [str(complaint) for complaint in course.complaints()] == []


@pytest.mark.parametrize("broken", [*OUTPUTS, *SHAPE, *METADATA, *CODE])
def test_a_broken_rule_is_named(course, broken):
    change, expected = (OUTPUTS | SHAPE | METADATA | CODE)[broken]
    change(course)
    course.put_notebook()
    found = course.complaints()
    assert len(found) == 1, "\n".join(map(str, found))
    assert expected in str(found[0])
    assert found[0].where.startswith("notebooks/01_curves.ipynb")
    assert found[0].level == "error"
    assert found[0].cure.endswith((".", ")"))
