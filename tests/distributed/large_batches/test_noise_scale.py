"""The noise scale: exactly unbiased, right on a quadratic of known covariance, and measured without side effects."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.distributed import AveragedNoiseScale, MeasuredGradients, NoiseScale, noise_scale
from course_lib.loops import Loss, Run, classification


class Point(nn.Module):
    """A parameter alone; the loss of row x is |theta - x|^2 / 2, so its gradient is theta - x."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))


def quadratic(model, rows):
    return Loss((model.theta - rows).square().sum() / 2, len(rows))


def test_estimates_are_unbiased_exactly():
    """Averaged over all ways to draw two parts from four gradients, they are the variance and the squared mean."""
    gradients = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = gradients.mean(dim=0)
    estimates = []
    for i, j, k in product(range(4), repeat=3):  # parts of two targets and of one
        two, one = (gradients[i] + gradients[j]) / 2, gradients[k]
        whole = (gradients[i] + gradients[j] + gradients[k]) / 3
        squares = [float(two @ two), float(one @ one)]
        estimates.append(noise_scale([2, 1], squares, whole_square=float(whole @ whole)))
    noise = sum(estimate.noise for estimate in estimates) / len(estimates)
    signal = sum(estimate.signal for estimate in estimates) / len(estimates)
    assert noise == pytest.approx(float((gradients - mean).square().sum() / 4), rel=1e-12)
    assert signal == pytest.approx(float(mean @ mean), rel=1e-12)


def test_equal_parts_give_the_papers_formula():
    small, big, small_square, big_square = 8, 32, 5.0, 2.0
    estimate = noise_scale([small] * 4, [small_square] * 4, whole_square=big_square)
    assert estimate.signal == pytest.approx((big * big_square - small * small_square) / (big - small))
    assert estimate.noise == pytest.approx((small_square - big_square) / (1 / small - 1 / big))
    assert estimate.square_of(small) == pytest.approx(small_square)
    assert estimate.square_of(big) == pytest.approx(big_square)


def test_on_a_quadratic_with_known_covariance():
    """Rows from N(0, diag(1, 4)) and theta at (3, 0): the variance is 5, the squared gradient 9, the scale 5 / 9."""
    model, measured = Point([3.0, 0.0]), MeasuredGradients(decay=0.9999)
    run = Run(model, quadratic, torch.optim.SGD(model.parameters(), lr=0.0), gradients=measured)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        rows = torch.randn(6, 2, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0])
        run.step(rows[:1], rows[1:3], rows[3:])
    assert measured.sizes == [1, 2, 3]
    assert measured.noise_scale.noise == pytest.approx(5.0, rel=0.1)  # its standard error is 2 %
    assert measured.noise_scale.signal == pytest.approx(9.0, rel=0.1)
    assert measured.noise_scale.value == pytest.approx(5 / 9, rel=0.15)


def test_measuring_changes_nothing():
    """The same update, bit by bit, as plain accumulation; parameters that nobody used have no gradient."""
    rows = torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for parts in ({}, {"gradients": MeasuredGradients()}):
        model = Point([1.0, -1.0])
        run = Run(model, quadratic, torch.optim.AdamW(model.parameters(), lr=0.1), max_grad_norm=0.5, **parts)
        steps = [run.step(rows[:3], rows[3:]) for _ in range(3)]
        assert model.unused.grad is None
        results.append(([step.values() for step in steps], model.theta.detach().clone(), model.unused.detach().clone()))
    assert results[0][0] == results[1][0]
    assert_close(results[0][1:], results[1][1:], rtol=0, atol=0)


def test_one_part_tells_nothing():
    model, measured = Point([1.0, 0.0]), MeasuredGradients()
    run = Run(model, quadratic, torch.optim.SGD(model.parameters(), lr=0.1), gradients=measured)
    run.step(torch.zeros(3, 2, dtype=torch.float64))
    assert measured.latest is None
    assert measured.average.num_estimates == 0


def test_parts_without_targets_are_left_out():
    model = nn.Linear(2, 3)
    measured = MeasuredGradients()
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1), gradients=measured)
    x, y = torch.randn(2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    run.step((x, y), (x, y * 0 - 100), (x.flip(0), y))
    assert measured.sizes == [2, 0, 2]
    assert measured.latest is not None


def test_averages_before_dividing():
    average = AveragedNoiseScale(decay=0.5)
    for noise, signal in ((1.0, 1.0), (3.0, 0.0), (8.0, -1.0)):
        average.add(NoiseScale(noise, signal))
    assert (average.estimate.noise, average.estimate.signal) == (5.0, -0.25)  # halves after the first two
    assert average.estimate.value == float("inf")
    other = AveragedNoiseScale(decay=0.5)
    other.load_state_dict(average.state_dict())
    for each in (average, other):
        each.add(NoiseScale(0.0, 4.0))
    assert other.estimate == average.estimate
    assert average.estimate.value == pytest.approx(2.5 / 1.875)


def test_negative_noise_counts_as_none():
    assert NoiseScale(-1.0, 2.0).value == 0.0


def coupled(model, rows):
    return Loss((model.theta - rows).square().mean(), None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_scale([4], [1.0], whole_square=1.0), "expected two or more that are not empty, got sizes .4."),
        (lambda: noise_scale([4, 0], [1.0, 1.0], whole_square=1.0), "not empty"),
        (lambda: noise_scale([4, 4], [1.0], whole_square=1.0), "and 1 squares"),
        (lambda: AveragedNoiseScale(decay=1.0), "decay must be in .0, 1., got 1.0"),
        (lambda: _measured_run(coupled).step(torch.ones(2, 2)), "its gradient is not a mean over targets"),
        (lambda: _measured_run(quadratic, precision="fp16"), "measure gradients in bf16 or fp32"),
        (lambda: _measured_run(quadratic, more=[nn.Parameter(torch.ones(1))]), "parameters that are not the model's"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _measured_run(objective, *, more=(), **options):
    model = Point([1.0, 0.0]).float()
    optimizer = torch.optim.SGD([*model.parameters(), *more], lr=0.1)
    return Run(model, objective, optimizer, gradients=MeasuredGradients(), **options)
