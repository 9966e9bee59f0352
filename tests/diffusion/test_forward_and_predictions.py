"""Making noisy: closed form against simulated steps; and the way from any prediction to any other and back."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.diffusion import NoiseSchedule, add_noise, convert, cosine_schedule, interpolate, linear_schedule

EXACT = {"rtol": 0, "atol": 0}
KINDS = ("epsilon", "x0", "v")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def rows():
    g = seeded()
    return [torch.randn(6, 2, 3, generator=g, dtype=torch.float64) for _ in range(2)]


def test_closed_form_has_the_mean_and_variance_of_steps_taken_one_by_one():
    """Follow the mean factor and the variance through x_t = sqrt(1 - beta) x + sqrt(beta) noise, exactly."""
    schedule = linear_schedule(50)
    factor, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas.tolist()):
        factor, variance = factor * (1 - beta) ** 0.5, (1 - beta) * variance + beta
        assert_close(schedule.signal(torch.tensor(t)).item(), factor, rtol=1e-12, atol=0)
        assert_close(schedule.noise(torch.tensor(t)).item() ** 2, variance, rtol=1e-9, atol=1e-15)


def test_closed_form_has_the_distribution_of_simulated_steps():
    """40,000 rows: four standard errors of a mean are 0.02, of a variance 0.03."""
    schedule, g = linear_schedule(30), seeded()
    clean = torch.full((40_000, 1), 1.5)
    walked = clean
    for beta in schedule.betas[1:16].tolist():
        walked = (1 - beta) ** 0.5 * walked + beta**0.5 * torch.randn(walked.shape, generator=g)
    at_once = add_noise(clean, torch.randn(clean.shape, generator=g), torch.full((40_000,), 15), schedule)
    assert abs(walked.mean() - at_once.mean()) < 0.02
    assert abs(walked.var() - at_once.var()) < 0.03


def test_each_row_has_its_own_step(rows):
    clean, noise = rows
    schedule, t = cosine_schedule(10), torch.tensor([0, 1, 3, 5, 9, 10])
    expected = [
        schedule.alpha_bar[step] ** 0.5 * c + (1 - schedule.alpha_bar[step]) ** 0.5 * n
        for c, n, step in zip(clean, noise, t, strict=True)
    ]
    assert_close(add_noise(clean, noise, t, schedule), torch.stack(expected), rtol=1e-14, atol=0)
    assert_close(add_noise(clean, noise, t, schedule)[0], clean[0], **EXACT)


def test_diffusers_adds_the_same_noise(rows):
    from diffusers import DDPMScheduler

    clean, noise = (row.float() for row in rows)
    t = torch.tensor([1, 2, 30, 500, 999, 1000])
    theirs = DDPMScheduler(1000).add_noise(clean, noise, t - 1)
    assert_close(add_noise(clean, noise, t, linear_schedule()), theirs, rtol=1e-5, atol=1e-6)


def test_the_straight_line_goes_from_data_to_noise(rows):
    clean, noise = rows
    for time, expected in ((0.0, clean), (1.0, noise), (0.25, 0.75 * clean + 0.25 * noise)):
        assert_close(interpolate(clean, noise, torch.full((6,), time).double()), expected, rtol=1e-15, atol=0)
    step = 1e-3
    early, late = (interpolate(clean, noise, torch.full((6,), t, dtype=clean.dtype)) for t in (0.5, 0.5 + step))
    assert_close((late - early) / step, noise - clean, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("of", "to"), list(itertools.product(KINDS, KINDS)))
def test_conversions_know_the_truth(rows, of, to):
    clean, noise = rows
    schedule, t = cosine_schedule(100), torch.tensor([1, 10, 30, 50, 80, 99])
    signal, sigma = schedule.signal(t).view(6, 1, 1), schedule.noise(t).view(6, 1, 1)
    truth = {"epsilon": noise, "x0": clean, "v": signal * noise - sigma * clean}
    noisy = add_noise(clean, noise, t, schedule)
    assert_close(convert(truth[of], noisy, t, schedule, of=of, to=to), truth[to], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("of", "to"), list(itertools.permutations(KINDS, 2)))
def test_there_and_back_again(rows, of, to):
    """Any prediction, right or wrong."""
    prediction, noisy = rows
    schedule, t = linear_schedule(100), torch.tensor([1, 10, 30, 50, 80, 100])
    there = convert(prediction, noisy, t, schedule, of=of, to=to)
    assert_close(convert(there, noisy, t, schedule, of=to, to=of), prediction, rtol=1e-9, atol=1e-9)


def test_v_moves_along_a_circle(rows):
    """v is the derivative of the noisy row by the angle: cos(a) x0 + sin(a) epsilon."""
    clean, noise = rows
    angle, step = 0.7, 1e-5
    at = [math.cos(a) * clean + math.sin(a) * noise for a in (angle - step, angle, angle + step)]
    schedule = NoiseSchedule(torch.tensor([1.0, math.cos(angle) ** 2], dtype=torch.float64))
    v = convert(noise, at[1], torch.ones(6, dtype=torch.int64), schedule, of="epsilon", to="v")
    assert_close(v, (at[2] - at[0]) / (2 * step), rtol=0, atol=1e-8)


def test_v_needs_no_division_where_nothing_is_left_of_the_data(rows):
    prediction, noisy = rows
    schedule, t = NoiseSchedule(torch.tensor([1.0, 0.0])), torch.ones(6, dtype=torch.int64)
    assert_close(convert(prediction, noisy, t, schedule, of="v", to="x0"), -prediction, **EXACT)
    assert_close(convert(prediction, noisy, t, schedule, of="v", to="epsilon"), noisy, **EXACT)
    assert_close(convert(prediction, noisy, t, schedule, of="x0", to="epsilon"), noisy, **EXACT)


def test_gradients(rows):
    schedule, t = cosine_schedule(10), torch.tensor([1, 2, 3, 4, 5, 6])
    inputs = [row.requires_grad_() for row in rows]
    for of, to in itertools.permutations(KINDS, 2):
        assert torch.autograd.gradcheck(lambda p, x, of=of, to=to: convert(p, x, t, schedule, of=of, to=to), inputs)
    assert torch.autograd.gradcheck(lambda c, n: add_noise(c, n, t, schedule), inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(rows, dtype):
    clean, noise = (row.to(dtype) for row in rows)
    schedule, t = cosine_schedule(10), torch.tensor([1, 2, 3, 4, 5, 6])
    for half, full in (
        (add_noise(clean, noise, t, schedule), add_noise(clean.float(), noise.float(), t, schedule)),
        (interpolate(clean, noise, t / 10), interpolate(clean.float(), noise.float(), t / 10)),
        (
            convert(clean, noise, t, schedule, of="x0", to="v"),
            convert(clean.float(), noise.float(), t, schedule, of="x0", to="v"),
        ),
    ):
        assert half.dtype == torch.float32
        assert_close(half, full, rtol=1e-6, atol=1e-7)


T = torch.ones(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: add_noise(torch.ones(3, 2), torch.ones(3, 1), T, s), r"clean \(3, 2\), noise \(3, 1\), \(3,\)"),
        (lambda s: add_noise(torch.ones(2, 2), torch.ones(2, 2), T, s), r"the times \(N,\): got .* \(3,\)"),
        (lambda s: interpolate(torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 1)), r"\(3, 1\)"),
        (lambda s: convert(torch.ones(3, 2), torch.ones(3), T, s, of="v", to="x0"), r"prediction \(3, 2\), noisy"),
        (lambda s: convert(torch.ones(3), torch.ones(3), T, s, of="eps", to="x0"), "of must be .* got 'eps'"),
        (lambda s: convert(torch.ones(3), torch.ones(3), T, s, of="v", to="score"), "to must be .* got 'score'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(cosine_schedule(10))
