"""Progress: what is recorded stays, whoever else writes and whatever happens to the process."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from course_lib.study.memory.progress import Progress
from course_lib.study.memory.scheduling import interval, replay

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

WRITER = """
import sys
from course_lib.study.memory.progress import Progress
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Progress.open(path) as progress:
    for index in range(count):
        progress.record_review("00-c-shared", 1 + index % 4)
        progress.record_answer(f"00-q-{name}-{index}", True, "A")
        print(index, flush=True)
"""


def start_writer(path, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "progress.db"


def test_what_is_recorded_is_there_when_opened_again(path):
    with Progress.open(path) as progress:
        progress.record_answer("00-q-a", False, "B")
        progress.record_answer("00-q-a", True, "A")
        progress.record_answer("00-q-b", True, "A")
        progress.record_answer("00-q-b", False, "C")
        progress.record_exercise("00.1", False)
        progress.record_exercise("00.1", True)
        progress.record_exercise("00.1", False)
        progress.record_exercise("00.2", False)
        due = progress.record_review("00-c-x", 4, now=MONDAY)
    with Progress.open(path) as progress:
        summary = progress.summary()
        assert summary.questions == {"00-q-a": True, "00-q-b": False}  # the last answer counts
        assert summary.exercises == {"00.1": True, "00.2": False}  # once passed, passed
        assert summary.cards == {"00-c-x": due} == {"00-c-x": MONDAY + timedelta(days=8)}
        assert (summary.answers, summary.reviews, summary.days) == (4, 1, 2)
        assert [(e.subject, e.answer) for e in progress.events() if e.kind == "answer"][:2] == [
            ("00-q-a", "B"),
            ("00-q-a", "A"),
        ]


def test_due_cards_come_longest_overdue_first_and_only_those_asked_for(path):
    with Progress.open(path) as progress:
        progress.record_review("00-c-easy", 4, now=MONDAY)
        progress.record_review("00-c-good", 3, now=MONDAY)
        progress.record_review("00-c-again", 1, now=MONDAY)
        progress.record_review("00-c-retired", 1, now=MONDAY)
        cards = ["00-c-new", "00-c-easy", "00-c-good", "00-c-again"]
        assert progress.due(MONDAY, cards) == []
        assert progress.due(MONDAY + timedelta(minutes=1), cards) == ["00-c-again"]  # the very moment counts
        assert progress.due(MONDAY + timedelta(days=30), cards) == ["00-c-again", "00-c-good", "00-c-easy"]
        assert progress.unseen(cards) == ["00-c-new"]


def test_new_cards_of_today_are_those_first_seen_since_midnight(path):
    noon = datetime(2026, 3, 2, 12, 0).astimezone()
    with Progress.open(path) as progress:
        progress.record_review("00-c-old", 3, now=noon - timedelta(days=1))
        progress.record_review("00-c-old", 3, now=noon)
        progress.record_review("00-c-new", 1, now=noon - timedelta(hours=11))
        progress.record_review("00-c-new", 3, now=noon)
        assert progress.new_today(noon) == 1
        assert progress.new_today(noon + timedelta(days=1)) == 0


def test_preview_says_what_the_rating_does(path):
    with Progress.open(path) as progress:
        assert progress.preview("00-c-x", MONDAY)[4] == "8 days"
        due = progress.record_review("00-c-x", 4, now=MONDAY)
        assert due == MONDAY + timedelta(days=8)
        said = progress.preview("00-c-x", due)[3]
        assert said == interval(progress.record_review("00-c-x", 3, now=due) - due) != "8 days"


def test_a_review_of_earlier_time_is_put_in_its_place(path):
    """The clock was set back between two reviews: the schedule is as if they had come in order."""
    with Progress.open(path) as progress:
        progress.record_review("00-c-x", 1, now=MONDAY + timedelta(days=4))
        due = progress.record_review("00-c-x", 4, now=MONDAY)
    with Progress.open(path.with_name("other.db")) as other:
        other.record_review("00-c-x", 4, now=MONDAY)
        assert other.record_review("00-c-x", 1, now=MONDAY + timedelta(days=4)) == due


def test_a_bad_rating_records_nothing(path):
    with Progress.open(path) as progress:
        with pytest.raises(ValueError, match="a rating is 1"):
            progress.record_review("00-c-x", 0)
        assert progress.events() == []


def test_a_review_and_its_schedule_are_recorded_both_or_neither(path, monkeypatch):
    def interrupt(reviews):
        raise KeyboardInterrupt

    with Progress.open(path) as progress:
        monkeypatch.setattr("course_lib.study.memory.scheduling.replay", interrupt)
        with pytest.raises(KeyboardInterrupt):
            progress.record_review("00-c-x", 3)
        assert progress.events() == []
        progress.record_answer("00-q-a", True, "A")  # and the record can still be written to
        assert len(progress.events()) == 1


def test_three_processes_writing_at_once_lose_nothing(path):
    names, count = ("notebook", "left", "right"), 25
    writers = [start_writer(path, name, count) for name in names]  # the file is not there yet: they create it at once
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with Progress.open(path) as progress:
        events = progress.events()
        answered = {event.subject for event in events if event.kind == "answer"}
        assert answered == {f"00-q-{name}-{index}" for name in names for index in range(count)}
        reviews = [(event.result, datetime.fromisoformat(event.at)) for event in events if event.kind == "review"]
        assert len(reviews) == len(names) * count
        ((state,),) = progress._connection.execute("SELECT state FROM cards").fetchall()
        assert state == replay(reviews)  # no reviewer overwrote another's schedule


def test_a_killed_process_loses_nothing_that_it_had_recorded(path):
    writer = start_writer(path, "killed", 1_000_000)
    confirmed = [int(writer.stdout.readline()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate()
    told = len(confirmed) + len(rest.splitlines())
    with Progress.open(path) as progress:
        summary = progress.summary()
        assert set(summary.questions) >= {f"00-q-killed-{index}" for index in range(told)}
        assert summary.reviews - told in (0, 1)  # one may have been written and not told yet
        assert set(summary.cards) == {"00-c-shared"}


def test_course_home_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "elsewhere"))
    with Progress.open() as progress:
        assert progress.path == tmp_path / "elsewhere" / "progress.db"
        assert progress.path.is_file()
