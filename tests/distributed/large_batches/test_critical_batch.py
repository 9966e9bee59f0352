"""Critical batch size and rate rules: by thought, by recovery of planted values, and what is refused."""

import math

import pytest

from course_lib.distributed import CriticalBatch, fit_critical_batch, scaled_rate, step_efficiency


def test_the_trade_is_the_papers_hyperbola():
    trade = CriticalBatch(min_steps=50, min_examples=3200)
    for batch_size in (1, 7, 64, 1000):
        steps, examples = trade.steps(batch_size), trade.examples(batch_size)
        assert (steps / 50 - 1) * (examples / 3200 - 1) == pytest.approx(1.0)
        assert steps * batch_size == pytest.approx(examples)
    assert (trade.steps(trade.size), trade.examples(trade.size)) == (100, 6400)  # twice the least of both


def test_a_planted_trade_is_found():
    trade = CriticalBatch(min_steps=123.0, min_examples=45_678.0)
    sizes = [4, 16, 64, 256, 1024, 4096]
    fit = fit_critical_batch(sizes, [trade.steps(size) for size in sizes])
    assert fit.min_steps == pytest.approx(123.0, rel=1e-9)
    assert fit.min_examples == pytest.approx(45_678.0, rel=1e-9)


def test_the_fit_weighs_relative_errors():
    """Ten per cent more on the longest run, in steps by far the largest error, moves the critical size by little."""
    trade = CriticalBatch(min_steps=100.0, min_examples=10_000.0)
    sizes = [1, 10, 100, 1000, 10_000]
    steps = [trade.steps(size) for size in sizes]
    steps[0] *= 1.1
    assert fit_critical_batch(sizes, steps).min_steps == pytest.approx(100, rel=0.02)


def test_rules_compose_and_go_back():
    for rule in ("linear", "square root", "constant"):
        there = scaled_rate(0.3, batch_size=32, new_batch_size=500, rule=rule)
        assert scaled_rate(there, batch_size=500, new_batch_size=32, rule=rule) == pytest.approx(0.3)
    assert scaled_rate(0.3, batch_size=32, new_batch_size=512, rule="square root") == pytest.approx(1.2)


def test_step_efficiency():
    assert step_efficiency(64, 0) == 1.0
    assert step_efficiency(64, 64) == 0.5
    assert step_efficiency(64, math.inf) == 0.0
    assert step_efficiency(1, 1e6) == pytest.approx(step_efficiency(2, 1e6) / 2, rel=1e-5)  # linear far below


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CriticalBatch(0, 10), "must be positive, got 0 and 10"),
        (lambda: fit_critical_batch([1, 2], [2, 1]), "three or more batch sizes"),
        (lambda: fit_critical_batch([1, 2, 4], [4, 2, math.inf]), "leave out runs that did not get there"),
        (lambda: fit_critical_batch([1, 2, 4], [100, 100, 101]), "do not fall with the batch size"),
        (lambda: fit_critical_batch([1, 2, 4], [100, 40, 10]), "fall faster than the batch size grows"),
        (lambda: scaled_rate(0.0, batch_size=1, new_batch_size=2), "must be positive, got 0.0, 1 and 2"),
        (lambda: scaled_rate(0.1, batch_size=1, new_batch_size=2, rule="cubic"), "rule must be one of"),
        (lambda: step_efficiency(0, 1), "batch size above 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
