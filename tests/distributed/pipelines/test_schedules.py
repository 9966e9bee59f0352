"""Schedules and their timelines: by thought alone, by the formulas, and what would wait for ever."""

import pytest

from course_lib.distributed import Action, bubble_share, gpipe, one_forward_one_backward, simulate
from course_lib.distributed.pipelines.schedules import make_schedule

SHAPES = [(1, 1), (1, 5), (2, 1), (2, 3), (3, 3), (4, 2), (4, 8), (5, 13)]


@pytest.mark.parametrize("make", [gpipe, one_forward_one_backward])
@pytest.mark.parametrize(("stages", "micro_batches"), SHAPES)
def test_schedules_are_complete_and_take_the_least_time(make, stages, micro_batches):
    schedule = make(stages, micro_batches)
    for actions in schedule:
        for kind in ("forward", "backward"):
            assert [a.micro_batch for a in actions if a.kind == kind] == list(range(micro_batches))
    timeline = simulate(schedule, forward_seconds=1.0, backward_seconds=2.0)
    assert timeline.seconds == (micro_batches + stages - 1) * 3.0
    assert timeline.bubble == pytest.approx(bubble_share(stages, micro_batches), abs=1e-12)
    limit = micro_batches if make is gpipe else stages
    assert timeline.peak_held == [min(micro_batches, limit - (0 if make is gpipe else s)) for s in range(stages)]


def test_a_timeline_by_hand():
    """Two stages, two micro-batches, backward as long as forward, a second stage that is slower."""
    timeline = simulate(gpipe(2, 2), forward_seconds=[1, 2], backward_seconds=[1, 2], transfer_seconds=0.5)
    spans = {(e.stage, str(e.action)): (e.start_seconds, e.end_seconds) for e in timeline.events}
    assert spans == {
        (0, "F0"): (0, 1),
        (0, "F1"): (1, 2),
        (1, "F0"): (1.5, 3.5),
        (1, "F1"): (3.5, 5.5),
        (1, "B0"): (5.5, 7.5),
        (1, "B1"): (7.5, 9.5),
        (0, "B0"): (8, 9),
        (0, "B1"): (10, 11),
    }
    assert timeline.seconds == 11
    assert timeline.bubble == pytest.approx(1 - 12 / 22)
    assert [str(event.action) for event in timeline.of_stage(0)] == ["F0", "F1", "B0", "B1"]


def test_more_micro_batches_leave_less_waiting():
    shares = [bubble_share(4, m) for m in (1, 2, 4, 8, 16, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert bubble_share(1, 3) == 0
    assert bubble_share(2, 1) == 0.5


def test_a_schedule_that_waits_for_ever_is_named():
    late = (Action("backward", 0), Action("forward", 0))
    with pytest.raises(ValueError, match=r"waits for ever: stages stand before \{1: 'B0'\}"):
        simulate(((Action("forward", 0),), late))


def test_errors():
    with pytest.raises(ValueError, match="schedule must be one of"):
        make_schedule("interleaved", 2, 2)
    for wrong in ((0, 1), (1, 0)):
        for function in (gpipe, one_forward_one_backward, bubble_share):
            with pytest.raises(ValueError, match="needs stages and micro-batches"):
                function(*wrong)
    with pytest.raises(ValueError, match="no stages"):
        simulate(())
    with pytest.raises(ValueError, match="one for each of 2 stages"):
        simulate(gpipe(2, 2), forward_seconds=[1.0])
    with pytest.raises(ValueError, match="transfer_seconds"):
        simulate(gpipe(2, 2), transfer_seconds=-1)
