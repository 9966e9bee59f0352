"""The ``course`` command: every verb on a small course, exit codes, and no traceback for a user's mistake."""

import os
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from course_lib.study.cli.main import app
from course_lib.study.memory.progress import Progress
from course_lib.study.open_lab import EXTENSIONS

COMMAND = [sys.executable, "-m", "course_lib.study.cli.main"]


@pytest.fixture
def run(course):
    """Run a verb in this process."""
    return lambda *arguments, typed="": CliRunner().invoke(app, arguments, input=typed)


def course_process(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, encoding="utf-8", **options)


VERBS = "review quiz cards find summary progress list lab open run update diff reset doctor checklist syllabus handout"


@pytest.mark.parametrize("verb", [*VERBS.split(), "export", "check", "results", "map"])
def test_every_verb_has_help_with_an_example(run, verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert f"course {verb}" in result.stdout.replace("Usage: course", "") or verb == "export"


def test_verbs_that_only_read_do_not_wait_for_heavy_packages(course):
    """Importing torch or numpy takes longer than all that these verbs do."""
    script = """
import sys
from course_lib.study.cli.main import app
loaded = lambda: [name for name in ("torch", "numpy", "pydantic", "IPython") if name in sys.modules]
app(["--help"], standalone_mode=False)
print("for help:", [name for name in loaded() if name != "pydantic"])  # typer itself may import pydantic
for verb in (["list"], ["find", "baseline"], ["progress"], ["syllabus", "everything"], ["summary"], ["checklist"]):
    app(verb, standalone_mode=False)
print("for reading:", loaded())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "for help: []" in done.stdout
    assert done.stdout.endswith("for reading: ['pydantic']\n")


def test_list_shows_where_one_stands(run):
    with Progress.open() as progress:
        progress.record_answer("00-q-leak", True, "B")
        progress.record_exercise("00.1", True)
        progress.record_review("00-c-training", 1)
    lines = run("list").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("00")] == [
        ["00", "In", "one", "sitting", "45", "min", "1/3", "1/5", "1/1"]
    ]
    assert any("The chain rule" in line and "planned" in line for line in lines)


def test_progress_counts_and_travels(run, tmp_path, monkeypatch):
    with Progress.open() as progress:
        progress.record_answer("00-q-leak", True, "B")
    assert "1 day of study, 0 card reviews, 1 answers" in run("progress").stdout
    backup = tmp_path / "backup.json"
    assert run("progress", "export", str(backup)).stdout == f"1 events written to {backup}.\n"
    again = run("progress", "export", str(backup))
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "other"))
    assert "1 new events" in run("progress", "import", str(backup)).stdout
    assert "0 new events" in run("progress", "import", str(backup)).stdout
    assert "1 answers" in run("progress").stdout


@pytest.mark.parametrize("name", ["0", "00", "start_here", "00_start_here", "notebooks/00_start_here.ipynb"])
def test_a_notebook_has_several_names(run, name):
    assert "What is *training*?".replace("*", "") in run("cards", name, typed="q\n").stdout


def test_review_quiz_and_cards_run_to_their_end(run):
    assert "2 rated." in run("review", "00", "--new", "2", typed="\n4\n\n4\n").stdout
    assert "1 of 1 right, 4 not answered." in run("quiz", "00", typed="B\n").stdout
    assert "Nothing is due now." in run("review", "00", "--new", "2").stdout


def test_find_exits_with_one_when_there_is_nothing(run):
    found = run("find", "strong", "baseline")
    assert (found.exit_code, "course open 00#2.-A-strong-baseline" in found.stdout) == (0, True)
    assert run("find", "zebra").exit_code == 1


def test_copies_are_made_compared_and_reset(run, course, tmp_path):
    assert "00_start_here: new" in run("update").stdout
    copy = tmp_path / "my" / "00_start_here.ipynb"
    copy.write_text(copy.read_text().replace("You train a model.", "I train a model."))
    assert "I train a model." in run("diff", "0").stdout
    assert "is as the course has it" in run("reset", "0").stdout
    assert "I train a model." not in copy.read_text()
    assert run("diff", "0").stdout == "Your copy is as the course has it.\n"
    assert run("update").stdout == "Your copies are up to date.\n"


def test_open_starts_jupyterlab_at_the_section_of_the_copy(run, tmp_path, monkeypatch):
    started = []
    server = Mock(wait=Mock(side_effect=[KeyboardInterrupt, 0]))  # stopped by one Ctrl-C
    monkeypatch.setattr(subprocess, "Popen", lambda command: started.append(command) or server)
    monkeypatch.setattr("jupyter_server.serverapp.list_running_servers", lambda: [])
    result = run("open", "0#strong", "--no-browser", "--port=9999")
    assert result.exit_code == 0, result.output
    ((_, *options),) = started
    options = [option for option in options if option != "--allow-root"]  # there when root runs the tests
    assert options == [
        *("-m", "jupyterlab", "-y"),
        f"--ServerApp.root_dir={tmp_path}",
        f"--LabApp.extra_labextensions_path={EXTENSIONS}",
        "--LabApp.default_url=/lab/tree/my/00_start_here.ipynb#cell-id=base",
        *("--no-browser", "--port=9999"),
    ]
    assert (EXTENSIONS / "course-sections" / "package.json").is_file()
    assert (tmp_path / "my" / "00_start_here.ipynb").is_file()


def test_open_uses_the_server_that_is_there(run, tmp_path, monkeypatch):
    opened = []
    server = {"root_dir": str(tmp_path), "url": "http://localhost:8888/", "token": "t0"}
    monkeypatch.setattr("jupyter_server.serverapp.list_running_servers", lambda: [server])
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run("open", "1").exit_code == 0
    assert opened == ["http://localhost:8888/lab/tree/my/01_risk.ipynb?token=t0"]


def test_export_handout_syllabus_and_checklists(run, tmp_path):
    assert run("export", "anki", str(tmp_path / "deck.apkg")).stdout.startswith("4 cards written")
    assert "| 00 | In one sitting | Train. | 45 min | 12 s |" in run("syllabus", "quick-tour", "--markdown").stdout
    assert "quick-tour: 2 notebooks, 00 02" in run("syllabus").stdout
    assert "[ ] Write the model card" in run("checklist", "tabular").stdout
    assert "image-classifier" in run("checklist").stdout
    assert "Average the loss." in run("summary").stdout
    assert "Split first" not in run("summary", "1").stdout


def test_check_tells_what_is_wrong_and_exits_with_one(run):
    result = run("check")  # the small course has no shape to speak of
    assert result.exit_code == 1
    assert "error: notebooks/00_start_here.ipynb" in result.stdout
    assert "to mend" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cards", "7"], "there is no notebook '7': numbers go from 00 to 02."),
        (["cards", "start_her"], "did you mean start_here?"),
        (["quiz", "1"], "quizzes/ has nothing for notebook '01'; it has: 00."),
        (["open", "2"], "notebook 02 is planned, and not written yet. Written so far: 00, 01."),
        (["open", "0#dropout"], "has no section 'dropout'"),
        (["checklist", "chess"], "there is no checklist 'chess'"),
        (["syllabus", "chess"], "there is no path 'chess'"),
        (["export", "anki", "deck.zip"], "call it deck.apkg"),
        (["progress", "import", "nowhere.json"], "nowhere.json is not a file"),
        (["progress", "export", "no/such/folder.json"], "No such file or directory"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_unknown_verbs_and_options_are_usage_errors(run):
    assert run("bogus").exit_code == 2
    assert run("review", "--bogus").exit_code == 2
    assert run("review", "--new", "-1").exit_code == 2


def test_bad_content_names_file_and_line(run, course):
    deck = course / "flashcards" / "00_start_here.yaml"
    deck.write_text(deck.read_text().replace("level: recall", "level: easy", 1))
    result = run("review")
    assert result.exit_code == 2
    assert "course: flashcards/00_start_here.yaml:8: " in result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_course_it_says_what_to_do(run, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    result = run("list")
    assert (result.exit_code, "COURSE_ROOT is" in result.stderr) == (2, True)


def test_debugging_shows_where_a_mistake_came_from(course):
    debugged = course_process("cards", "7", env=os.environ | {"COURSE_DEBUG": "1"})
    assert "Traceback" in debugged.stderr
    assert "number_of" in debugged.stderr


def test_a_damaged_and_a_newer_record_are_told_in_a_line(run, tmp_path):
    record = tmp_path / "home" / "progress.db"
    record.parent.mkdir()
    record.write_bytes(b"garbage " * 999)
    result = run("progress")
    assert result.exit_code == 0
    assert result.stderr.startswith("course: the progress file was damaged")
    assert "UserWarning" not in result.stderr
    import sqlite3

    with sqlite3.connect(record) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    result = run("progress")
    assert (result.exit_code, "newer version of the course" in result.stderr) == (2, True)


def test_output_has_no_colour_when_asked_or_piped(course):
    assert "\x1b" not in course_process("list").stdout
    forced = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"FORCE_COLOR": "1"}
    coloured = course_process("find", "baseline", env=forced).stdout
    plain = course_process("find", "baseline", env=forced | {"NO_COLOR": "1"}).stdout
    assert "\x1b[36m" in coloured
    assert "\x1b[36m" not in plain


def test_a_terminal_without_the_characters_shows_question_marks(course):
    done = course_process("find", "baseline", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, "00 In one sitting ? " in done.stdout) == (0, True)


def test_killed_in_the_middle_of_a_review_only_the_card_on_the_screen_is_lost(course):
    review = subprocess.Popen(
        [*COMMAND, "review"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    review.stdin.write("\n4\n\n2\n\n")  # two cards rated, the third turned over
    review.stdin.flush()
    told = []
    while sum("returns in" in line for line in told) < 2 or "1 Again" not in told[-1]:
        told.append(review.stdout.readline())
    review.send_signal(signal.SIGKILL)
    review.communicate()
    assert review.returncode == -signal.SIGKILL
    with Progress.open() as progress:
        assert [(event.subject, event.result) for event in progress.events()] == [
            ("00-c-training", 4),
            ("01-c-risk", 2),
        ]
        assert set(progress.summary().cards) == {"00-c-training", "01-c-risk"}


def test_a_closed_pipe_ends_quietly(course):
    listing = subprocess.Popen([*COMMAND, "summary"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listing.stdout.close()
    assert "Traceback" not in listing.stderr.read()
    listing.wait()
    listing.stderr.close()


def test_results_and_map_are_written(run, course):
    assert "RESULTS.md written" in run("results").stdout
    assert (course / "RESULTS.md").read_text().startswith("# Results")
    assert "| 02 | The chain rule | Derive. | planned |" in run("map").stdout
    (course / "README.md").write_text("no marks")
    assert run("map", "--write").exit_code == 2
    (course / "README.md").write_text("<!-- map:begin -->\n<!-- map:end -->\n")
    assert "written" in run("map", "--write").stdout
    assert "up to date" in run("map", "--write").stdout


def test_run_says_how_long_it_took_or_where_it_failed(run, monkeypatch, course):
    from types import SimpleNamespace

    asked = []

    def execute(path, *, store):
        asked.append((path.name, store))
        error = "notebooks/01_risk.ipynb, cell 3: boom" if path.name.startswith("01") else None
        return SimpleNamespace(path=path, seconds=3.2, peak_memory_bytes=2**30, error=error, stored=store)

    monkeypatch.setattr("course_lib.study.running.execute.execute_notebook", execute)
    assert run("run", "0", "--store").stdout == "00_start_here.ipynb: 3 s, 1.0 GiB, outputs stored.\n"
    failed = run("run", "1")
    assert (failed.exit_code, failed.stdout) == (1, "notebooks/01_risk.ipynb, cell 3: boom\n")
    assert asked == [("00_start_here.ipynb", True), ("01_risk.ipynb", False)]


def test_doctor_s_exit_code_is_the_command_s(run, monkeypatch):
    monkeypatch.setattr("course_lib.study.doctor.report", lambda: 1)
    assert run("doctor").exit_code == 1
