"""Gaussian likelihood: the density's formula, torch and its distributions, invariants, gradients, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import gaussian_nll, mse


@pytest.fixture
def triple():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(5, 3, generator=generator).double() for _ in range(3))


def slow_gaussian_nll(mean, target, log_variance):
    """Minus the logarithm of the density, as the textbook prints it."""
    variance = math.exp(log_variance)
    return -math.log(math.exp(-((target - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance))


def test_matches_the_formula_read_aloud(triple):
    expected = [slow_gaussian_nll(*row) for row in zip(*(x.flatten().tolist() for x in triple), strict=True)]
    assert_close(gaussian_nll(*triple).item(), sum(expected) / 15, rtol=1e-13, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(triple, reduction):
    mean, target, log_variance = triple
    expected = F.gaussian_nll_loss(mean, target, log_variance.exp(), full=True, reduction=reduction)
    assert_close(gaussian_nll(*triple, reduction=reduction), expected, rtol=1e-13, atol=0)
    density = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(target)
    assert_close(gaussian_nll(*triple, reduction="none"), -density, rtol=1e-13, atol=0)


def test_with_variance_one_it_is_half_the_squared_error_and_a_constant(triple):
    mean, target, _ = triple
    expected = mse(mean, target) / 2 + math.log(2 * math.pi) / 2
    assert_close(gaussian_nll(mean, target, torch.tensor(0.0)), expected, rtol=1e-14, atol=0)


def test_the_best_shared_variance_is_the_mean_squared_error(triple):
    mean, target, _ = triple
    log_variance = mse(mean, target).log().requires_grad_()
    gaussian_nll(mean, target, log_variance).backward()
    assert abs(log_variance.grad.item()) < 1e-15  # each term is about 1/2: a few roundings


def test_changing_the_unit_adds_its_logarithm(triple):
    mean, target, log_variance = triple
    in_centimetres = gaussian_nll(100 * mean, 100 * target, log_variance + 2 * math.log(100))
    assert_close(in_centimetres, gaussian_nll(*triple) + math.log(100), rtol=1e-13, atol=0)


def test_one_variance_per_row_or_for_all(triple):
    mean, target, log_variance = triple
    shared = log_variance[:, :1]
    repeated = gaussian_nll(mean, target, shared.repeat(1, 3))
    assert_close(gaussian_nll(mean, target, shared), repeated, rtol=0, atol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_gradcheck(triple, shared):
    mean, target, log_variance = triple
    inputs = (mean, target, log_variance[0, 0] if shared else log_variance)
    assert torch.autograd.gradcheck(gaussian_nll, tuple(x.clone().requires_grad_() for x in inputs))


@pytest.mark.parametrize("log_variance", [-100.0, 1e4])
def test_variances_that_float32_cannot_hold(log_variance):  # exp(100) and exp(1e4) overflow
    inputs = [torch.tensor([0.0]), torch.tensor([1e-10]), torch.tensor([log_variance])]
    for tensor in inputs:
        tensor.requires_grad_()
    loss = gaussian_nll(*inputs)
    expected = math.log(2 * math.pi) / 2 + log_variance / 2 + 1e-20 * math.exp(-log_variance) / 2
    loss.backward()
    assert_close(loss.item(), expected, rtol=1e-5, atol=0)  # float32: exp(50) carries a relative error of 50 roundings
    assert all(tensor.grad.isfinite().all() for tensor in inputs)


@pytest.mark.parametrize(
    ("mean", "target", "log_variance", "message"),
    [
        (torch.ones(3, 1), torch.ones(3), torch.ones(3), r"got mean \(3, 1\), target \(3,\)"),
        (torch.ones(3, 1), torch.ones(3, 1), torch.ones(3), r"mean's shape \(3, 1\), got \(3,\)"),
        (torch.ones(3), torch.ones(3), torch.ones(2), r"mean's shape \(3,\), got \(2,\)"),
        (torch.ones(3), torch.ones(3), torch.ones(1, 3), r"mean's shape \(3,\), got \(1, 3\)"),
        (torch.ones(3).int(), torch.ones(3), torch.ones(3), "mean must be floating point"),
        (torch.ones(3), torch.ones(3).int(), torch.ones(3), "target must be floating point"),
        (torch.ones(3), torch.ones(3), torch.ones(3).int(), "log_variance must be floating point"),
    ],
)
def test_bad_input_is_named(mean, target, log_variance, message):
    with pytest.raises(ValueError, match=message):
        gaussian_nll(mean, target, log_variance)
