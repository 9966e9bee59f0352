"""Every Python file says first what it is for, and stays short enough to be read in one go."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("course_lib", "tests", "benchmarks", "results", "exercises")
MAX_LINES = 300
FILES = [*sorted(ROOT.glob("*.py")), *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_the_folders_named_here_are_there():
    assert [folder for folder in FOLDERS if not any((ROOT / folder).rglob("*.py"))] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_short_and_says_first_what_it_is_for(path):
    source = path.read_text(encoding="utf-8")
    num_lines = len(source.splitlines())
    assert num_lines <= MAX_LINES, f"{name(path)} has {num_lines} lines: split it by idea"
    assert ast.get_docstring(ast.parse(source)), f"{name(path)} must begin with a docstring that says what it is for"
    assert source.removeprefix("r").startswith('"""'), f"{name(path)}: nothing may stand before the docstring"
