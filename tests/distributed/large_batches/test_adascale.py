"""AdaScale: its gain at both ends, the schedule in small steps, going on from a saved state."""

import pytest
import torch
from torch import nn

from course_lib.distributed import AdaScale, NoiseScale, gain
from course_lib.loops import Loss, Run


def rows_model():
    model = nn.Linear(1, 2, bias=False).double()
    nn.init.zeros_(model.weight)
    return model


def quadratic(model, rows):
    return Loss((model.weight.squeeze(1) - rows).square().sum() / 2, len(rows))


def test_gain_of_the_papers_formula():
    estimate = NoiseScale(noise=24.0, signal=2.0)
    sigma, mu = 24.0 / 8, 2.0  # of a batch of 8
    assert gain(estimate, batch_size=8, scale=4) == pytest.approx((sigma + mu) / (sigma / 4 + mu))


@pytest.mark.parametrize(("noise", "signal", "expected"), [(0, 1, 1), (-1, 1, 1), (1, 0, 16), (1, -1, 16), (0, 0, 1)])
def test_gain_at_the_ends(noise, signal, expected):
    assert gain(NoiseScale(noise, signal), batch_size=4, scale=16) == pytest.approx(expected)


def test_gain_grows_with_the_scale_and_never_passes_it():
    estimate = NoiseScale(5.0, 1.0)
    gains = [gain(estimate, batch_size=1, scale=scale) for scale in (1, 2, 4, 8, 1e9)]
    assert gains == sorted(gains)
    assert all(value <= scale for value, scale in zip(gains, (1, 2, 4, 8, 1e9), strict=True))
    assert gains[-1] == pytest.approx(6.0)  # as if all noise were gone: (5 + 1) / 1


def run_with(ada):
    model = rows_model()
    return Run(model, quadratic, torch.optim.SGD(model.parameters(), lr=0.01), **ada.parts())


def test_equal_parts_are_one_batch():
    """Without noise nothing is gained: as many steps as the small run has, at its rates."""
    ada = AdaScale(small_steps=5, scale=4, schedule=lambda step: 1 / (1 + step))
    run, rates = run_with(ada), []
    rows = torch.ones(3, 2, dtype=torch.float64)
    while not ada.finished:
        rates.append(run.step(rows, rows, rows, rows).learning_rate)
    assert rates == pytest.approx([0.01 / (1 + step) for step in range(5)])


def test_pure_noise_is_worth_all_its_parts():
    """Around the optimum the mean gradient is all noise: 64 small steps are made in about 16 of four times the rate."""
    ada = AdaScale(small_steps=64, scale=4)
    run, rates = run_with(ada), []
    generator = torch.Generator().manual_seed(0)
    while not ada.finished:
        rows = torch.randn(4, 2, 2, generator=generator, dtype=torch.float64)
        rates.append(run.step(*rows).learning_rate)
    assert rates[0] == pytest.approx(0.01)  # nothing is known yet
    assert 17 <= len(rates) <= 24
    assert 0.03 < rates[-1] <= 0.04


def test_a_saved_one_goes_on_alike():
    rows = torch.randn(6, 2, 2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ada = AdaScale(small_steps=100, scale=2)
    run = run_with(ada)
    for batch in rows[:3]:
        run.step(*batch)
    again = AdaScale(small_steps=100, scale=2)
    other = run_with(again)
    again.load_state_dict(ada.state_dict())
    other.load_state_dict(run.state_dict())
    for batch in rows[3:]:
        assert run.step(*batch).learning_rate == other.step(*batch).learning_rate
    assert (again.small_step, again.gain) == (ada.small_step, ada.gain)


def test_a_step_that_is_not_made_does_not_count():
    ada = AdaScale(small_steps=10, scale=2)
    run = run_with(ada)
    rows = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="loss nan"):
        run.step(rows, rows * torch.nan)
    assert (ada.small_step, ada.measured.average.num_estimates) == (0.0, 0)


def test_a_step_of_one_part_is_refused():
    """Nothing could ever be measured: the gain would stay at 1, and nobody would know."""
    run = run_with(AdaScale(small_steps=10, scale=2))
    with pytest.raises(ValueError, match="this step had one: give AdaScale's run two or more micro-batches"):
        run.step(torch.ones(2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AdaScale(small_steps=0, scale=2), "positive small_steps and a scale above 1, got 0 and 2"),
        (lambda: AdaScale(small_steps=5, scale=1), "a scale above 1"),
        (lambda: gain(NoiseScale(1, 1), batch_size=0, scale=2), "positive batch size"),
        (lambda: gain(NoiseScale(1, 1), batch_size=1, scale=0.5), "scale of at least 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
