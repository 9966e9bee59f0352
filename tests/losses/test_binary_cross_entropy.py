"""Binary cross-entropy: the Bernoulli's formula, torch, two-class softmax, invariants, gradients, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import binary_cross_entropy, cross_entropy


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return logits, torch.rand(5, 3, generator=generator, dtype=torch.float64)


def slow_binary_cross_entropy(logit, target, positive_weight):
    """Minus the log-likelihood of a coin, sigmoid first."""
    p = 1 / (1 + math.exp(-logit))
    return -(positive_weight * target * math.log(p) + (1 - target) * math.log(1 - p))


@pytest.mark.parametrize("weight", [1.0, 0.3, 5.0])
def test_matches_the_formula_read_aloud(pair, weight):
    rows = zip(*(x.flatten().tolist() for x in pair), strict=True)
    expected = sum(slow_binary_cross_entropy(z, y, weight) for z, y in rows) / 15
    assert_close(binary_cross_entropy(*pair, positive_weight=weight).item(), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("weight", [1.0, 0.3, 5.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(pair, weight, reduction):
    positive_weight = torch.tensor(weight, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(*pair, pos_weight=positive_weight, reduction=reduction)
    ours = binary_cross_entropy(*pair, positive_weight=weight, reduction=reduction)
    assert_close(ours, expected, rtol=1e-13, atol=0)


def test_logit_zero_costs_log_two_whatever_the_target(pair):
    _, target = pair
    loss = binary_cross_entropy(torch.zeros_like(target), target, reduction="none")
    assert_close(loss, torch.full_like(target, math.log(2)), rtol=1e-14, atol=0)


def test_it_is_cross_entropy_with_the_logits_zero_and_z(pair):
    logits, label = pair[0].flatten(), pair[1].flatten().round().long()
    expected = cross_entropy(torch.stack([torch.zeros_like(logits), logits], -1), label)
    assert_close(binary_cross_entropy(logits, label.double()), expected, rtol=1e-13, atol=0)


def test_swapping_yes_and_no_changes_nothing(pair):
    logits, target = pair
    assert_close(binary_cross_entropy(-logits, 1 - target), binary_cross_entropy(logits, target), rtol=1e-14, atol=0)


def test_the_gradient_is_the_probability_minus_the_target_at_zero_too(pair):
    logits, target = pair
    logits[0] = 0  # where formulas of |z| have a kink
    logits.requires_grad_()
    binary_cross_entropy(logits, target, reduction="sum").backward()
    assert_close(logits.grad, logits.detach().sigmoid() - target, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_gradcheck(pair, weight):
    inputs = tuple(x.requires_grad_() for x in pair)
    assert torch.autograd.gradcheck(lambda z, y: binary_cross_entropy(z, y, positive_weight=weight), inputs)


def test_extreme_logits():
    logits = torch.tensor([1e4, 1e4, -1e4, -1e4, 100.0], requires_grad=True)
    loss = binary_cross_entropy(logits, torch.tensor([1.0, 0.0, 1.0, 0.0, 0.25]), reduction="none")
    loss.sum().backward()
    assert_close(loss, torch.tensor([0.0, 1e4, 1e4, 0.0, 75.0]), rtol=1e-7, atol=0)
    assert_close(logits.grad, torch.tensor([0.0, 1.0, -1.0, 0.0, 0.75]), rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("logits", "target", "weight", "message"),
    [
        (torch.ones(3, 1), torch.ones(3), 1.0, r"got logits \(3, 1\), target \(3,\)"),
        (torch.ones(3).int(), torch.ones(3), 1.0, "logits must be floating point"),
        (torch.ones(3), torch.ones(3).long(), 1.0, r"target must be floating point.*\.float\(\)"),
        (torch.ones(3), torch.ones(3), 0.0, "positive_weight must be positive and finite, got 0.0"),
    ],
)
def test_bad_input_is_named(logits, target, weight, message):
    with pytest.raises(ValueError, match=message):
        binary_cross_entropy(logits, target, positive_weight=weight)
