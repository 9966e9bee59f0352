"""Merging notebooks: each side's changes arrive, nothing that anybody wrote is lost, nothing is there twice unsaid."""

import copy
from collections import Counter

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.copies.merge import CONFLICT_NOTE, merge_notebooks, merge_order
from course_lib.study.copies.notebook_cells import parse_notebook, render_notebook


def cell(identity, source, **more):
    made = {"cell_type": "code", "metadata": {}, "source": source, "outputs": output(source), "execution_count": 1}
    return made | ({"id": identity} if identity else {}) | more


def output(text):
    return [{"output_type": "stream", "name": "stdout", "text": f"ran {text}"}]


def notebook(*cells):
    whole = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return parse_notebook(render_notebook(whole))


def sources(merged):
    return [cell["source"] for cell in merged["cells"]]


def test_each_side_decides_about_what_only_it_changed():
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"), cell("d", "4"))
    ours = notebook(cell("a", "1"), cell("b", "mine"), cell("d", "4"), cell("e", "my new"))
    theirs = notebook(cell("a", "course"), cell("b", "2"), cell("n", "course new"), cell("c", "3"), cell("d", "4"))
    merged = merge_notebooks(base, ours, theirs)
    assert sources(merged.notebook) == ["course", "mine", "course new", "4", "my new"]
    assert [cell["id"] for cell in merged.notebook["cells"]] == ["a", "b", "n", "d", "e"]
    assert merged.notes == ()


def test_different_lines_of_one_cell_are_merged_and_its_outputs_dropped():
    base, ours = notebook(cell("a", "1\n2\n3")), notebook(cell("a", "1\n2\nmine"))
    merged = merge_notebooks(base, ours, notebook(cell("a", "course\n2\n3")))
    assert sources(merged.notebook) == ["course\n2\nmine"]
    assert merged.notebook["cells"][0]["outputs"] == []
    assert merged.notebook["cells"][0]["execution_count"] is None
    assert "different lines" in merged.notes[0]


def test_a_conflict_keeps_both_cells_under_a_note_and_the_learners_runs_last():
    base, ours = notebook(cell("a", "x = 1")), notebook(cell("a", "x = 'mine'"))
    merged = merge_notebooks(base, ours, notebook(cell("a", "x = 'course'")))
    assert sources(merged.notebook) == [CONFLICT_NOTE, "x = 'course'", "x = 'mine'"]
    assert merged.notes == (
        "\"x = 'mine'\": you and the course changed the same lines; both versions are there, the course's above yours.",
    )


def test_a_cell_whose_type_one_side_changed_and_whose_text_the_other_is_a_conflict():
    ours, theirs = notebook(cell("a", "1\n2\nmine")), notebook(cell("a", "1\n2\n3"))
    theirs["cells"][0]["cell_type"] = "markdown"
    merged = merge_notebooks(notebook(cell("a", "1\n2\n3")), ours, theirs).notebook
    assert [(each["cell_type"], each["source"]) for each in merged["cells"][1:]] == [
        ("markdown", "1\n2\n3"),
        ("code", "1\n2\nmine"),
    ]


def test_a_conflict_left_as_it_is_follows_the_course_and_is_not_repeated():
    first = merge_notebooks(notebook(cell("a", "1")), notebook(cell("a", "mine")), notebook(cell("a", "v2")))
    second = merge_notebooks(notebook(cell("a", "v2")), first.notebook, notebook(cell("a", "v3")))
    assert sources(second.notebook) == [CONFLICT_NOTE, "v3", "mine"]
    assert second.notes == ()


def test_a_conflict_resolved_by_keeping_ones_own_cell_is_merged_like_any_edit():
    first = merge_notebooks(notebook(cell("a", "1\n2")), notebook(cell("a", "1\nmine")), notebook(cell("a", "1\nv2")))
    kept = notebook(first.notebook["cells"][2])
    second = merge_notebooks(notebook(cell("a", "1\nv2")), kept, notebook(cell("a", "1\nv2"), cell("b", "new")))
    assert sources(second.notebook) == ["1\nmine", "new"]


def test_deleting_against_editing_keeps_the_edit_and_says_so():
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"))
    ours, theirs = notebook(cell("b", "mine"), cell("c", "3")), notebook(cell("a", "course"), cell("c", "3"))
    merged = merge_notebooks(base, ours, theirs)
    assert sorted(sources(merged.notebook)) == ["3", "course", "mine"]
    assert merged.notes == (
        '"mine": the course has dropped it; it is kept, since you changed it.',
        '"course": you had deleted it; it is back, since the course has changed it.',
    )


def test_a_cell_that_the_course_moved_takes_the_learners_edit_along():
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"))
    ours, theirs = notebook(cell("a", "1"), cell("b", "2"), cell("c", "mine")), notebook(*reversed(base["cells"]))
    assert sources(merge_notebooks(base, ours, theirs).notebook) == ["mine", "2", "1"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("axbcd", "abcdy", "axbcdy"),  # additions of both
        ("abcdx", "dcba", "dxcba"),  # an addition follows its neighbour
        ("bcda", "abycd", "bycda"),  # a move of the learner's
        ("abcd", "dabc", "dabc"),  # a move of the course's
        ("xabcd", "yabcd", "xyabcd"),  # both at the top
    ],
)
def test_order(ours, theirs, expected):
    assert "".join(merge_order("abcd", ours, theirs, keep="abcdxy")) == expected


def test_outputs_go_with_the_text_that_they_came_from():
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"), cell("d", "4"))
    ours = notebook(cell("a", "1", outputs=output("me")), cell("b", "2"), cell("c", "mine"), cell("d", "4"))
    theirs = notebook(cell("a", "1"), cell("b", "new"), cell("c", "3"), cell("d", "4", outputs=output("again")))
    merged = merge_notebooks(base, ours, theirs).notebook["cells"]
    assert [cell["outputs"][0]["text"] for cell in merged] == ["ran me", "ran new", "ran mine", "ran again"]


def test_metadata_is_merged_key_by_key():
    base = notebook(cell("a", "1", metadata={"tags": ["old"], "level": 1}))
    ours = notebook(cell("a", "1", metadata={"tags": ["old"], "level": 1, "collapsed": True}))
    theirs = notebook(cell("a", "1", metadata={"tags": ["new"]}))
    ours["metadata"]["kernelspec"], theirs["metadata"]["title"] = {"name": "mine"}, "new"
    merged = merge_notebooks(base, ours, theirs).notebook
    assert merged["cells"][0]["metadata"] == {"tags": ["new"], "collapsed": True}
    assert merged["metadata"] == {"kernelspec": {"name": "mine"}, "title": "new"}


def test_a_picture_pasted_into_a_cell_stays():
    text = {"cell_type": "markdown", "metadata": {}, "id": "a"}
    picture = {"image.png": {"image/png": "aGk="}}
    ours = notebook({**text, "source": "1\n2\n3", "attachments": picture})
    merged = merge_notebooks(notebook({**text, "source": "1\n2\n3"}), ours, notebook({**text, "source": "new\n2\n3"}))
    assert merged.notebook["cells"][0]["attachments"] == picture
    assert sources(merged.notebook) == ["new\n2\n3"]


def test_cells_without_ids_are_found_by_their_text_and_get_their_ids_back():
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"))
    ours = notebook(cell(None, "1"), cell(None, "mine"), cell(None, "3"))
    merged = merge_notebooks(base, ours, notebook(cell("a", "course"), cell("b", "2"), cell("c", "3"))).notebook
    assert sources(merged) == ["course", "mine", "3"]
    assert [merged["cells"][0]["id"], merged["cells"][2]["id"]] == ["a", "c"]


def test_a_pasted_copy_with_the_same_id_is_a_new_cell_whichever_of_the_two_was_edited():
    base, theirs = notebook(cell("a", "1"), cell("b", "2")), notebook(cell("a", "course"), cell("b", "2"))
    for pair in (["1", "mine"], ["mine", "1"]):
        ours = notebook(*(cell("a", source) for source in pair), cell("b", "2"))
        merged = merge_notebooks(base, ours, theirs).notebook
        assert sources(merged) == ["course" if source == "1" else source for source in [*pair, "2"]]
        assert len({cell["id"] for cell in merged["cells"]}) == 3


def test_without_a_base_both_versions_of_what_differs_are_there():
    nothing = {"cells": [], "metadata": {}}
    ours = notebook(cell("a", "1"), cell("b", "mine"), cell(None, "3"))
    theirs = notebook(cell("a", "1"), cell("b", "course"), cell("c", "3"))
    merged = merge_notebooks(nothing, ours, theirs).notebook
    assert sources(merged) == ["1", CONFLICT_NOTE, "course", "mine", "3"]


# Random edits. Every line that a side writes carries that side's name and a number, so it is known wherever it ends up.

LEARNER_ONLY = ["duplicate with its id", "duplicate with a new id", "drop id", "run"]
BOTH = [
    "edit line",
    "insert line",
    "delete line",
    "insert cell",
    "delete cell",
    "move cell",
    "change type",
    "change id",
]


def edits(names):
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 9), st.integers(0, 9)), max_size=6)


ROUNDS = st.lists(st.tuples(edits(BOTH + LEARNER_ONLY), edits(BOTH)), min_size=1, max_size=3)


def edited(original, steps, side):
    """Apply edits to a copy of a notebook; the course's side runs every cell afterwards."""
    cells = copy.deepcopy(original["cells"])
    for number, (name, where, which) in enumerate(steps):
        new = f"{side} {number}"
        if name == "insert cell":
            cells.insert(where % (len(cells) + 1), cell(f"{side}-{number}".replace(" ", "-"), f"{new}\n{new} second"))
        if not cells:
            continue
        index = where % len(cells)
        target = cells[index]
        lines = target["source"].split("\n")
        if name == "edit line":
            lines[which % len(lines)] = new
        elif name == "insert line":
            lines.insert(which % (len(lines) + 1), new)
        elif name == "delete line":
            del lines[which % len(lines)]
        elif name == "delete cell":
            del cells[index]
        elif name == "move cell":
            cells.insert(which % len(cells), cells.pop(index))
        elif name == "change type":
            target["cell_type"] = "raw" if target["cell_type"] == "code" else "code"
        elif name == "change id":
            target["id"] = f"changed-{side}-{number}".replace(" ", "-")
        elif name == "duplicate with its id":
            cells.insert(which % (len(cells) + 1), copy.deepcopy(target))
        elif name == "duplicate with a new id":
            cells.insert(
                which % (len(cells) + 1), {**copy.deepcopy(target), "id": f"copy-{side}-{number}".replace(" ", "-")}
            )
        elif name == "drop id":
            target.pop("id", None)
        elif name == "run" and target["cell_type"] == "code":
            target |= {"outputs": output(f"{target['source']} by {side}"), "execution_count": 2}
        target["source"] = "\n".join(lines)
    for each in cells:
        if each["cell_type"] != "code":
            each.pop("outputs", None)
            each.pop("execution_count", None)
        elif side.startswith("course") or "outputs" not in each:
            each["outputs"], each["execution_count"] = output(each["source"]), 1
    return notebook(*cells)


def lines_of(whole):
    return Counter(line for each in whole["cells"] for line in each["source"].split("\n") if line)


def texts(whole):
    return [(each["cell_type"], each["source"], each.get("outputs")) for each in whole["cells"]]


START = notebook(*(cell(f"start-{n}", "\n".join(f"line {n}.{k}" for k in range(4))) for n in range(5)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rounds=ROUNDS)
def test_nothing_written_is_lost_and_nothing_doubled_unsaid(rounds):
    base = ours = START
    for number, (our_steps, their_steps) in enumerate(rounds):
        ours = edited(ours, our_steps, f"learner {number}")
        theirs = edited(base, their_steps, f"course {number}")
        merged = merge_notebooks(base, ours, theirs)
        was, mine, course, now = map(lines_of, (base, ours, theirs, merged.notebook))

        assert mine.keys() - was.keys() <= now.keys(), "a line that the learner wrote is lost"
        assert course.keys() - was.keys() <= now.keys(), "a line that the course added is lost"
        assert mine.keys() & course.keys() <= now.keys(), "a line that both have is lost"
        assert now.keys() <= mine.keys() | course.keys() | {CONFLICT_NOTE}
        course_kept_ids = not any(name == "change id" for name, _, _ in their_steps)  # else an edited cell is a new one
        if course_kept_ids and all("different lines" in note for note in merged.notes):
            assert all(count <= max(mine[line], course[line]) for line, count in now.items()), "doubled, and not said"
        assert len(merged.notes) >= sources(merged.notebook).count(CONFLICT_NOTE) - sources(ours).count(CONFLICT_NOTE)

        nbformat.validate(nbformat.from_dict(merged.notebook))
        assert len({each["id"] for each in merged.notebook["cells"]}) == len(merged.notebook["cells"])
        with_outputs = texts(ours) + texts(theirs)
        assert all(text in with_outputs or text[2] == [] for text in texts(merged.notebook) if text[0] == "code")
        base, ours = theirs, merged.notebook


@settings(max_examples=100, deadline=None, derandomize=True)
@given(our_steps=edits(BOTH + LEARNER_ONLY), their_steps=edits(BOTH))
def test_where_one_side_changed_nothing_the_other_side_comes_out(our_steps, their_steps):
    ours, theirs = edited(START, our_steps, "learner"), edited(START, their_steps, "course")
    assert merge_notebooks(START, START, theirs).notebook == theirs
    assert texts(merge_notebooks(START, ours, START).notebook) == texts(ours)
    assert texts(merge_notebooks(START, theirs, theirs).notebook) == texts(theirs)
    merged = merge_notebooks(START, ours, theirs).notebook
    assert texts(merge_notebooks(theirs, merged, theirs).notebook) == texts(merged)
