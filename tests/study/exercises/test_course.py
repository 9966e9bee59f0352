"""Exercises as a learner meets them: found by id, hints, solutions, progress, and what a notebook shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.study import check, hint, solution
from course_lib.study.exercises import all_exercises, find_exercise, load_exercises
from course_lib.study.exercises import course as exercises

HERE = Path(__file__).parent
LOG_SUM_EXP, _, FAIR_ACCURACY = load_exercises(HERE / "sample_course" / "exercises" / "05_sample.py")


@pytest.fixture
def sample_course(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_ROOT", str(HERE / "sample_course"))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr(exercises, "_hints_shown", {})


def test_hints_come_one_by_one(sample_course, capsys):
    hint("05.2")
    first = capsys.readouterr().out
    assert "Hint 1 of 3: Which gradient" in first
    assert "2 more to come" in first
    assert "Hint 2" not in first
    hint("05.2")
    assert "Hint 2 of 3: Multiply" in capsys.readouterr().out
    hint("05.2")
    hint("05.2")
    assert capsys.readouterr().out.count("That was the last one") == 2
    hint(LOG_SUM_EXP)
    assert "Hint 1 of 2" in capsys.readouterr().out


def test_the_solution_is_shown_as_source(sample_course, capsys):
    solution("05.1")
    out = capsys.readouterr().out
    assert out.startswith("def log_sum_exp(x, dim):")
    assert "x.max(dim=dim, keepdim=True)" in out


def test_unknown_ids_list_the_known_ones(sample_course):
    with pytest.raises(ValueError, match=r"no exercise '05.9'; this notebook has: 05.1, 05.2, 05.3\."):
        find_exercise("05.9")
    with pytest.raises(ValueError, match=r"exercises for these notebooks: 05\."):
        find_exercise("99.1")
    with pytest.raises(ValueError, match=r"exercises for these notebooks: 05\."):
        find_exercise("*")


def test_exercises_of_a_long_file_go_on_in_its_folder():
    path = HERE.parents[2] / "exercises" / "00_start_here.py"
    assert [exercise.id for exercise in load_exercises(path)] == ["00.1", "00.2", "00.3", "00.4"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"01_a.py": "EXERCISES = ()"}, "01_a.py must define EXERCISES"),
        ({"02_a.py": "{sample}"}, r"02_a.py must differ and start with '02.', got \['05.1'"),
        ({"05_a.py": "{sample}", "05_a/more.py": "{sample}"}, r"05_a.py must differ .* got \['05.1', .*'05.1'"),
    ],
)
def test_bad_exercise_files_are_named(tmp_path, monkeypatch, files, message):
    for folder in ("exercises", "flashcards"):
        (tmp_path / folder).mkdir()
    (tmp_path / "flashcards" / "concepts.yaml").write_text("[]")
    sample = (HERE / "sample_course" / "exercises" / "05_sample.py").read_text()
    (tmp_path / "exercises" / "05_a").mkdir()
    for name, text in files.items():
        (tmp_path / "exercises" / name).write_text(text.replace("{sample}", sample))
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        all_exercises()


def wrong(scores, labels):
    return 0.5


def recorded(monkeypatch):
    calls = []

    class Recorder:
        @classmethod
        def open(cls):
            return cls()

        def __enter__(self):
            return self

        def __exit__(self, *details):
            return None

        def record_exercise(self, exercise_id, passed):
            calls.append((exercise_id, passed))

    module = type(sys)("course_lib.study.memory.progress")
    module.Progress = Recorder
    monkeypatch.setitem(sys.modules, "course_lib.study.memory.progress", module)
    return calls


def test_what_is_attempted_is_recorded(sample_course, monkeypatch):
    calls = recorded(monkeypatch)
    check("05.3", None)
    check("05.3", FAIR_ACCURACY.solution)
    check("05.3", wrong)
    check(FAIR_ACCURACY, wrong)  # another course's exercise is not this learner's progress
    assert calls == [("05.3", True), ("05.3", False)]


def test_progress_that_cannot_be_kept_warns_once_and_does_not_spoil_the_check(sample_course, monkeypatch, recwarn):
    monkeypatch.setattr(exercises, "_warned_about_progress", False)
    monkeypatch.setitem(sys.modules, "course_lib.study.memory.progress", type(sys)("empty"))
    for _ in range(2):
        assert check("05.3", FAIR_ACCURACY.solution).status == "right"
    assert [str(warning.message)[:61] for warning in recwarn] == [
        "your answer was checked, but progress could not be recorded: "
    ]


def test_a_notebook_shows_a_verdict_once_and_hints_as_markdown(sample_course):
    script = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
with capture_output() as shown:
    shell.run_cell("from course_lib.study import check, hint", store_history=True)
    shell.run_cell("def f(x, dim):\\n    ...\\n\\ncheck('05.1', f)", store_history=True)
print(shown.stdout.count("05.1"), len(shown.outputs))
with capture_output() as shown:
    shell.run_cell("hint('05.1')", store_history=True)
print([sorted(output.data) for output in shown.outputs], shown.stdout == "")
"""
    root = str(HERE.parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, encoding="utf-8"
    )
    assert run.stdout.splitlines() == ["1 0", "[['text/markdown', 'text/plain']] True"], run.stderr


def test_a_terminal_without_the_symbols_still_shows_the_words():
    script = f"""
from pathlib import Path
from course_lib.study.exercises import check, load_exercises
check(load_exercises(Path({str(HERE / "sample_course/exercises/05_sample.py")!r}))[0], None)
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert run.stdout.startswith("? 05.1 not attempted"), run.stderr


def test_importing_the_study_package_is_cheap():
    script = "import sys, course_lib.study; print(sorted({'torch', 'numpy', 'ipywidgets', 'yaml'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment).stdout == "[]\n"
    )


def test_no_module_of_the_package_hides_what_notebooks_import():
    import course_lib.study as study

    names = {path.stem for folder in study.__path__ for path in Path(folder).iterdir()}
    assert names.isdisjoint(study.__all__), "importing such a module would replace the function of its name"
