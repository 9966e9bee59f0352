"""Noise schedules: the papers' formulas read aloud, diffusers' numbers, and what a shift does."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.diffusion import NoiseSchedule, cosine_schedule, linear_schedule, shifted, shifted_time

EXACT = {"rtol": 0, "atol": 0}
FLOAT32 = {"rtol": 2e-5, "atol": 1e-8}  # diffusers multiplies a thousand factors in float32


def alpha_bar_by_steps(betas):
    """Multiply what each step leaves, one after the other."""
    left = [1.0]
    for beta in betas:
        left.append(left[-1] * (1 - beta))
    return torch.tensor(left, dtype=torch.float64)


@pytest.mark.parametrize("num_steps", [25, 100, 1000])
def test_linear_betas_grow_evenly_and_add_up_to_the_same_noise(num_steps):
    scale = 1000 / num_steps
    betas = [scale * (1e-4 + (0.02 - 1e-4) * i / (num_steps - 1)) for i in range(num_steps)]
    schedule = linear_schedule(num_steps)
    assert schedule.num_steps == num_steps
    assert_close(schedule.alpha_bar, alpha_bar_by_steps(betas), rtol=1e-12, atol=0)
    assert_close(schedule.betas[1:], torch.tensor(betas, dtype=torch.float64), rtol=1e-9, atol=0)
    assert schedule.alpha_bar[-1] < 1e-4


@pytest.mark.parametrize("num_steps", [1, 10, 1000])
def test_the_cosine_is_the_papers(num_steps):
    def f(t):
        return math.cos((t / num_steps + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - f(t) / f(t - 1), 0.999) for t in range(1, num_steps + 1)]
    schedule = cosine_schedule(num_steps)
    assert_close(schedule.alpha_bar, alpha_bar_by_steps(betas), rtol=1e-11, atol=0)
    uncapped = torch.tensor([f(t) / f(0) for t in range(num_steps)], dtype=torch.float64)
    assert_close(schedule.alpha_bar[:-1], uncapped, rtol=1e-10, atol=0)  # the cap is felt at the last step alone


@pytest.mark.parametrize(
    ("ours", "name"), [(linear_schedule, "linear"), (cosine_schedule, "squaredcos_cap_v2")], ids=["linear", "cosine"]
)
def test_diffusers_has_the_same_numbers(ours, name):
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, beta_schedule=name)
    assert_close(ours(1000).alpha_bar[1:].float(), theirs.alphas_cumprod, **FLOAT32)
    assert_close(ours(1000).betas[1:].float(), theirs.betas, rtol=2e-5, atol=1e-9)


def test_a_triangle_known_by_thought():
    schedule, t = NoiseSchedule(torch.tensor([1.0, 0.64, 0.36])), torch.tensor([[0, 1], [2, 1]])
    assert_close(schedule.signal(t), torch.tensor([[1.0, 0.8], [0.6, 0.8]]).double(), rtol=1e-7, atol=0)
    assert_close(schedule.noise(t), torch.tensor([[0.0, 0.6], [0.8, 0.6]]).double(), rtol=1e-7, atol=0)
    assert schedule.log_snr(torch.tensor([0])).item() == math.inf
    assert_close(schedule.log_snr(torch.tensor(2)).item(), math.log(0.36 / 0.64), rtol=1e-6, atol=0)
    assert_close(schedule.time(t), torch.tensor([[0.0, 0.5], [1.0, 0.5]]), **EXACT)


@pytest.mark.parametrize("schedule", [linear_schedule(), cosine_schedule(), shifted(cosine_schedule(), 4.0)])
def test_variance_is_preserved_and_noise_grows(schedule):
    t = torch.arange(schedule.num_steps + 1)
    signal, noise = schedule.signal(t), schedule.noise(t)
    assert_close(signal**2 + noise**2, torch.ones(1001).double(), rtol=1e-14, atol=0)
    assert (noise.diff() > 0).all()
    assert (schedule.log_snr(t).diff() < 0).all()
    assert_close(schedule.log_snr(t[1:]), 2 * (signal[1:].log() - noise[1:].log()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [0.25, 2.0, 16.0])
def test_a_shift_multiplies_noise_over_signal(factor):
    plain, t = cosine_schedule(), torch.arange(1, 1001)
    moved = shifted(plain, factor)
    assert_close(moved.noise(t) / moved.signal(t), factor * plain.noise(t) / plain.signal(t), rtol=1e-10, atol=0)
    assert_close(shifted(moved, 1 / factor).alpha_bar, plain.alpha_bar, rtol=1e-10, atol=1e-16)
    assert_close(shifted(plain, 1.0).alpha_bar, plain.alpha_bar, rtol=1e-15, atol=0)


def test_a_shifted_time_is_the_same_shift_on_the_straight_line():
    time = torch.linspace(0, 1, 11, dtype=torch.float64)[1:-1]
    moved = shifted_time(time, 3.0)
    assert_close(moved / (1 - moved), 3 * time / (1 - time), rtol=1e-12, atol=0)
    assert_close(shifted_time(torch.tensor([0.0, 1.0]), 3.0), torch.tensor([0.0, 1.0]), **EXACT)
    assert_close(shifted_time(shifted_time(time, 3.0), 1 / 3), time, rtol=1e-12, atol=0)


def test_the_shift_is_that_of_diffusers_flow_scheduler():
    from diffusers import FlowMatchEulerDiscreteScheduler

    theirs = FlowMatchEulerDiscreteScheduler(1000, shift=3.0).sigmas
    time = torch.linspace(1, 1 / 1000, 1000, dtype=torch.float64)
    assert_close(shifted_time(time, 3.0).float(), theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_steps_undo_time(num_steps):
    schedule, t = cosine_schedule(num_steps), torch.arange(num_steps + 1)
    assert_close(schedule.steps(schedule.time(t)), t, **EXACT)


def test_numbers_are_kept_in_float64_whatever_they_came_in():
    schedule = NoiseSchedule(torch.tensor([1.0, 0.5], dtype=torch.bfloat16))
    assert schedule.alpha_bar.dtype == torch.float64
    assert schedule.signal(torch.tensor([1])).dtype == torch.float64
    assert schedule.time(torch.tensor([1])).dtype == torch.float32
    assert repr(schedule) == "NoiseSchedule(1 steps, alpha_bar from 1 to 0.5)"


def test_numbers_are_its_own():
    """Not those of the tensor that came in, nor on the default device of the moment."""
    given = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    schedule = NoiseSchedule(given)
    given[1] = 0.9
    with torch.device("meta"):
        assert schedule.betas.tolist() == [0.0, 0.5, 0.5]


def test_no_signal_at_all_is_allowed_at_the_end():
    schedule = NoiseSchedule(torch.tensor([1.0, 0.5, 0.0]))
    assert schedule.signal(torch.tensor(2)).item() == 0
    assert schedule.log_snr(torch.tensor(2)).item() == -math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NoiseSchedule(torch.tensor([0.9, 0.5])), r"starts at 1, .* got shape \(2,\), \[0.8999"),
        (lambda: NoiseSchedule(torch.tensor([1.0])), r"got shape \(1,\)"),
        (lambda: NoiseSchedule(torch.ones(2, 2)), r"got shape \(2, 2\)"),
        (lambda: NoiseSchedule(torch.tensor([1.0, 0.5, 0.5])), "fall at every step"),
        (lambda: NoiseSchedule(torch.tensor([1.0, 0.5, -0.1])), "stay at 0 or above"),
        (lambda: NoiseSchedule(torch.tensor([1.0, math.nan])), "fall at every step"),
        (lambda: linear_schedule(0), "num_steps must be at least 1, got 0"),
        (lambda: linear_schedule(20), r"betas must lie between 0 and 1 .* got 0.005 to 1 .*1000 / 20"),
        (lambda: linear_schedule(beta_start=0.03), "not fall"),
        (lambda: cosine_schedule(0), "got 0"),
        (lambda: cosine_schedule(max_beta=1.0), "max_beta=1.0"),
        (lambda: cosine_schedule(offset=-0.1), "offset=-0.1"),
        (lambda: shifted(cosine_schedule(), 0.0), "factor must be positive and finite, got 0.0"),
        (lambda: shifted_time(torch.ones(1), math.inf), "factor must be positive and finite, got inf"),
        (lambda: cosine_schedule(10).signal(torch.tensor([11])), "steps go from 0 to 10, got 11 to 11"),
        (lambda: cosine_schedule(10).noise(torch.tensor([-1, 3])), "got -1 to 3"),
        (lambda: cosine_schedule(10).log_snr(torch.tensor([0.5])), "whole numbers from 0 to 10, got torch.float32"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
