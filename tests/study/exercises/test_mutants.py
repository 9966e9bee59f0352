"""The mutator: each rule makes the change it is named after; nothing is made twice or equal to the original."""

import ast
import functools
import linecache

import pytest

from course_lib.study.exercises.mutants import mutants


def made_from(source):
    """What the rules make of a function's body, as source texts of the changed places."""
    namespace = {}
    text = f"def f(x, y=0, *, axis=0):\n    {source}\n"
    exec(compile(text, "<f>", "exec"), namespace)
    linecache.cache["<f>"] = (len(text), None, text.splitlines(True), "<f>")
    return [mutant.description for mutant in mutants(namespace["f"])]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return min(x)", {"min -> max"}),
        ("return x.mean()", {"x.mean -> x.sum"}),
        ("return x + y", {"x + y -> x - y", "x + y -> x", "x + y -> y"}),
        ("return x - y", {"x - y -> x + y", "x - y -> x", "x - y -> -y"}),
        ("return x * y", {"x * y -> x / y", "x * y -> x", "x * y -> y"}),
        ("return x / y", {"x / y -> x * y", "x / y -> x"}),
        ("return -x", {"-x -> x"}),
        ("return -3", {"-3 -> 3", "-3 -> -4", "-3 -> -6"}),
        ("return x < y", {"x < y -> x <= y"}),
        ("return x == y", {"x == y -> x != y"}),
        ("return True", {"True -> False"}),
        ("return 0", {"0 -> 1"}),
        ("return 1", {"1 -> 0", "1 -> 2"}),
        ("return 3", {"3 -> 4", "3 -> 6"}),
        ("return x.argsort(-1)", {"-1 -> 0", "-1 -> 1"}),
        ("return x.cumsum(axis=1)", {"x.cumsum(axis=1) -> x.cumsum()", "1 -> 0", "1 -> 2"}),
        ("return x.exp()", {"x.exp() -> x"}),
        ("return math.log(x)", {"math.log(x) -> x"}),
        ("return torch.softmax(x, y)", {"torch.softmax(x, y) -> x"}),
        ("return abs(x)", {"abs(x) -> x"}),
        ("return x.T", {"x.T -> x"}),
        ("return x[y, 5:axis]", {"x[y, 5:axis] -> x[5:axis, y]", "5 -> 6", "5 -> 10"}),
        ("return x and y", {"x and y -> x or y", "x and y -> y", "x and y -> x"}),
        ("return x if y else axis", {"x if y else axis -> x if not y else axis"}),
        ("x += y", {"x += y -> x -= y", "remove: x += y"}),
        ("x = y", {"remove: x = y"}),
        ("z = y", set()),  # without it, the function would only crash
        ("x[y] = axis", {"remove: x[y] = axis"}),
        ("x.sort()", {"remove: x.sort()", "x.sort() -> x"}),
        ("if x: return y", {"if x: ... -> if not x: ...", "remove: if x: ..."}),
        ("while x: x.pop()", {"while x: ... -> while not x: ...", "remove: while x: ...", "remove: x.pop()"}),
        ("for z in x: y(z)", {"remove: for z in x: ...", "remove: y(z)"}),
        ("raise ValueError(f'{x + 1}')", set()),
        ("assert x == 1", set()),
        ("return 'text', None, f'{x + 1}'", set()),
        ("return x", set()),
    ],
)
def test_each_rule(source, expected):
    assert set(made_from(source)) == expected


def documented(x: int = 1) -> int:
    """Return a sum; 1 + 1."""
    total: int = x + 5
    return total


def test_signature_docstring_and_annotations_stay():
    for mutant in mutants(documented):
        assert mutant.function.__doc__ == documented.__doc__
        assert mutant.function.__defaults__ == (1,)
    assert {mutant.line for mutant in mutants(documented)} == {3}


def test_mutants_run_and_differ_from_the_original_and_each_other():
    answers = {str(mutant): mutant.function(10) for mutant in mutants(documented)}
    assert answers == {
        "line 3: x + 5 -> x - 5": 5,
        "line 3: x + 5 -> x": 10,
        "line 3: x + 5 -> 5": 5,
        "line 3: 5 -> 6": 16,
        "line 3: 5 -> 10": 20,
    }


def twice(x):
    return x + 0 + x


def test_nothing_is_made_twice_nor_equal_to_the_original():
    made = [mutant.description for mutant in mutants(twice)]
    assert len(made) == len(set(made))
    assert ast.unparse(ast.parse("x + 0 + x")) not in made


def around():
    shift = 1

    def inner(x):
        return x + shift

    return inner


@pytest.mark.parametrize("function", [around(), lambda x: x + 1, functools.partial(twice, 1), len])
def test_what_cannot_be_mutated_is_refused(function):
    with pytest.raises(ValueError, match="mutants needs a"):
        list(mutants(function))
