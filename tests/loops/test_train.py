"""The loop: how many updates, of how many batches, and what it refuses at the call."""

import pytest
from torch.testing import assert_close

from course_lib.loops import train


def test_steps_counts_from_the_start_of_the_run(ragged_batch, make_run):
    run = make_run()
    assert [step.index for step in train(run, [ragged_batch] * 10, steps=3)] == [1, 2, 3]
    assert [step.index for step in train(run, [ragged_batch] * 10, steps=5)] == [4, 5]
    assert list(train(run, [ragged_batch], steps=5)) == []


def test_no_batch_is_taken_that_is_not_used(ragged_batch, make_run):
    stream = iter([ragged_batch] * 10)
    assert len(list(train(make_run(), stream, steps=3, accumulate=2))) == 3
    assert len(list(stream)) == 4


def test_a_last_group_that_is_not_full_is_dropped(ragged_batch, make_run):
    run = make_run()
    assert [step.count for step in train(run, [ragged_batch] * 5, steps=9, accumulate=2)] == [14, 14]


def test_accumulated_batches_are_one_update(batches, small_model, make_run, state):
    split, whole = make_run(small_model()), make_run(small_model())
    data = [(x.double(), y) for x, y in batches(4)]
    list(train(split, data, steps=2, accumulate=2))
    for first, second in (data[:2], data[2:]):
        whole.step(first, second)
    assert_close(state(split), state(whole), rtol=0, atol=0)


def test_the_caller_may_stop_and_go_on(batches, small_model, make_run, state):
    data = [(x.double(), y) for x, y in batches(4)]
    paused, straight = make_run(small_model()), make_run(small_model())
    for _ in train(paused, data, steps=4):
        break
    list(train(paused, data[1:], steps=4))
    list(train(straight, data, steps=4))
    assert_close(state(paused), state(straight), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 2, "accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"steps": 1}, "it is at 2 already, got steps=1"),
    ],
)
def test_arguments_are_checked_at_the_call(arguments, message, ragged_batch, make_run):
    run = make_run()
    list(train(run, [ragged_batch] * 2, steps=2))
    with pytest.raises(ValueError, match=message):
        train(run, [], **arguments)
