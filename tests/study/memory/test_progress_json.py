"""Export and import: nothing is lost, importing twice changes nothing, two machines end up the same."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.memory.progress import Event, Progress
from course_lib.study.memory.progress_json import export_progress, import_progress

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def event(number):
    """An event that depends on ``number`` alone."""
    at = (MONDAY + timedelta(hours=7 * number)).isoformat(timespec="microseconds")
    kind = ("answer", "review", "exercise")[number % 3]
    result = 1 + number % 4 if kind == "review" else number % 2
    answer = "café, 0.5 ≤ x" if kind == "answer" else None
    return Event(f"{number:032x}", kind, f"00-{number % 5}", result, answer, at)


records = st.sets(st.integers(0, 60), max_size=25)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(records, records)
def test_two_machines_that_exchange_exports_end_up_the_same(tmp_path_factory, left, right):
    folder = tmp_path_factory.mktemp("machines")
    with Progress.open(folder / "left.db") as one, Progress.open(folder / "right.db") as two:
        one.merge([event(number) for number in left])
        two.merge([event(number) for number in right])
        export_progress(one, folder / "left.json")
        export_progress(two, folder / "right.json")
        assert import_progress(one, folder / "right.json") == len(right - left)
        assert import_progress(two, folder / "left.json") == len(left - right)
        assert one.events() == two.events() == [event(number) for number in sorted(left | right)]
        assert one.summary() == two.summary()
        summary = one.summary()
        assert import_progress(one, folder / "right.json") == 0
        assert one.summary() == summary


def test_schedules_after_a_merge_are_those_of_all_reviews_in_order(tmp_path):
    with Progress.open(tmp_path / "one.db") as one, Progress.open(tmp_path / "two.db") as two:
        one.record_review("00-c-x", 3, now=MONDAY)
        one.record_review("00-c-x", 3, now=MONDAY + timedelta(days=9))
        two.record_review("00-c-x", 4, now=MONDAY + timedelta(days=4))
        export_progress(two, tmp_path / "two.json")
        import_progress(one, tmp_path / "two.json")
        with Progress.open(tmp_path / "three.db") as three:
            three.record_review("00-c-x", 3, now=MONDAY)
            three.record_review("00-c-x", 4, now=MONDAY + timedelta(days=4))
            three.record_review("00-c-x", 3, now=MONDAY + timedelta(days=9))
            assert one.summary().cards == three.summary().cards


def test_an_export_is_not_overwritten_unless_asked(tmp_path):
    target = tmp_path / "progress.json"
    target.write_text("something of mine")
    with Progress.open(tmp_path / "progress.db") as progress:
        with pytest.raises(ValueError, match="is there already"):
            export_progress(progress, target)
        assert target.read_text() == "something of mine"
        assert export_progress(progress, target, overwrite=True) == 0
    assert json.loads(target.read_text())["events"] == []
    assert sorted(file.name for file in tmp_path.glob("*.part")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, "format: Input should be"),
        ({"version": 2}, "newer version of the course"),
        ({"events": [{"id": "1"}]}, r"events\.0\.id: String should match"),
        (
            {"events": [vars_ := {**{k: getattr(event(1), k) for k in Event.__slots__}, "result": 0}]},
            "one of .1, 2, 3, 4., got 0",
        ),
        (
            {"events": [{**vars_, "result": 1, "at": "2026-03-02T09:00:00"}]},
            r"events\.0\.at: Input should have timezone",
        ),
    ],
)
def test_what_is_no_export_is_refused_whole(tmp_path, change, message):
    good = {k: getattr(event(3), k) for k in Event.__slots__}
    content = {"format": "how-ai-models-are-trained/progress", "version": 1, "events": [good]} | change
    if "events" in change:
        content["events"] = [*content["events"], good]
    (tmp_path / "import.json").write_text(json.dumps(content))
    with Progress.open(tmp_path / "progress.db") as progress:
        with pytest.raises(ValueError, match=message):
            import_progress(progress, tmp_path / "import.json")
        assert progress.events() == []


def test_files_that_are_not_there_or_no_json_are_named(tmp_path):
    (tmp_path / "broken.json").write_text('{"events": [')
    with Progress.open(tmp_path / "progress.db") as progress:
        with pytest.raises(FileNotFoundError, match="is not a file"):
            import_progress(progress, tmp_path / "nowhere.json")
        with pytest.raises(ValueError, match=r"broken\.json is not an export of progress: the file: Invalid JSON"):
            import_progress(progress, tmp_path / "broken.json")
