"""Huber's loss: torch, the two branches read aloud, values by thought, invariants, gradients, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import huber, mae, mse


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, generator=generator).double() * 2, torch.randn(5, 3, generator=generator).double()


def slow_huber(error, delta):
    """One branch or the other."""
    return error**2 / 2 if abs(error) <= delta else delta * (abs(error) - delta / 2)


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
def test_matches_the_formula_read_aloud(pair, delta):
    errors = (pair[0] - pair[1]).flatten().tolist()
    assert {abs(error) <= 1.0 for error in errors} == {True, False}  # both branches are met
    expected = sum(slow_huber(error, delta) for error in errors) / 15
    assert_close(huber(*pair, delta=delta).item(), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(pair, delta, reduction):
    expected = F.huber_loss(*pair, delta=delta, reduction=reduction)
    assert_close(huber(*pair, delta=delta, reduction=reduction), expected, rtol=1e-14, atol=0)


def test_values_by_thought():
    error = torch.tensor([0.0, 1.0, 2.0, -5.0])
    assert huber(error, torch.zeros(4), delta=2.0, reduction="none").tolist() == [0.0, 0.5, 2.0, 8.0]


def test_it_is_half_the_square_for_a_wide_delta_and_delta_times_the_distance_for_a_narrow_one(pair):
    assert_close(huber(*pair, delta=1e3), mse(*pair) / 2, rtol=1e-14, atol=0)
    assert_close(huber(*pair, delta=1e-9) / 1e-9, mae(*pair), rtol=1e-8, atol=0)  # off by delta / 2


def test_scaling_errors_and_delta_together_scales_by_the_square(pair):
    assert_close(huber(10 * pair[0], 10 * pair[1], delta=10.0), 100 * huber(*pair), rtol=1e-14, atol=0)


def test_swapping_prediction_and_target_changes_nothing(pair):
    assert_close(huber(*reversed(pair)), huber(*pair), rtol=0, atol=0)


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_gradcheck(pair, delta):
    assert torch.autograd.gradcheck(lambda p, t: huber(p, t, delta=delta), tuple(x.requires_grad_() for x in pair))


def test_no_error_pulls_harder_than_delta():
    prediction = torch.tensor([-3e38, -1.5, -0.5, 0.0, 1.5, 3e38], requires_grad=True)
    loss = huber(prediction, torch.zeros(6), delta=1.5, reduction="none")
    loss.sum().backward()
    assert prediction.grad.tolist() == [-1.5, -1.5, -0.5, 0.0, 1.5, 1.5]
    assert loss[1].item() == 1.125


def test_an_error_whose_square_overflows_has_a_finite_loss():
    assert_close(huber(torch.tensor([1e30]), torch.zeros(1)), torch.tensor(1e30), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("prediction", "target", "delta", "message"),
    [
        (torch.ones(3, 1), torch.ones(3), 1.0, r"got prediction \(3, 1\), target \(3,\)"),
        (torch.ones(3).int(), torch.ones(3), 1.0, "prediction must be floating point"),
        (torch.ones(3), torch.ones(3).int(), 1.0, "target must be floating point"),
        (torch.ones(3), torch.ones(3), 0.0, "delta must be positive and finite, got 0.0"),
        (torch.ones(3), torch.ones(3), math.inf, "delta must be positive and finite, got inf"),
    ],
)
def test_bad_input_is_named(prediction, target, delta, message):
    with pytest.raises(ValueError, match=message):
        huber(prediction, target, delta=delta)
