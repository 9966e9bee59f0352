"""Entropy: Shannon's formula, torch and SciPy, values by thought, invariants, gradients, extremes."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import cross_entropy, entropy, log_softmax


@pytest.fixture
def logits():
    return 2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_matches_the_formula_read_aloud(logits):
    total = 0.0
    for row in logits.tolist():
        weights = [math.exp(value) for value in row]
        probabilities = [weight / sum(weights) for weight in weights]
        total -= sum(p * math.log(p) for p in probabilities)
    assert_close(entropy(logits).item(), total / 6, rtol=1e-13, atol=0)


def test_matches_torch_and_scipy(logits):
    expected = torch.distributions.Categorical(logits=logits).entropy()
    assert_close(entropy(logits, reduction="none"), expected, rtol=1e-13, atol=0)
    stats = pytest.importorskip("scipy.stats")
    expected = torch.from_numpy(stats.entropy(logits.softmax(-1).numpy(), axis=-1))
    assert_close(entropy(logits, reduction="none"), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_equal_classes_have_log_k(classes):
    assert_close(entropy(torch.zeros(classes, dtype=torch.float64)).item(), math.log(classes), rtol=1e-15, atol=0)


def test_probabilities_may_be_passed_as_their_logarithms():
    fair_coin_and_a_side_that_never_comes = torch.tensor([0.5, 0.5, 0.0])
    assert_close(entropy(fair_coin_and_a_side_that_never_comes.log()).item(), math.log(2))


def test_it_is_the_expected_cross_entropy_of_the_right_model(logits):
    row, label = logits[0], torch.arange(4)
    surprise = cross_entropy(row.expand(4, 4), label, reduction="none")
    assert_close(entropy(row), (log_softmax(row).exp() * surprise).sum(), rtol=1e-14, atol=0)


def test_shift_and_order_of_the_classes_do_not_matter(logits):
    assert_close(entropy(logits + 3), entropy(logits), rtol=1e-13, atol=0)
    assert_close(entropy(logits.flip(-1)), entropy(logits), rtol=1e-14, atol=0)


def test_gradcheck(logits):
    assert torch.autograd.gradcheck(entropy, (logits.requires_grad_(),))


def test_certainty_has_none_and_nothing_breaks():
    logits = torch.tensor([[1e4, 0.0, -1e4], [0.0, -math.inf, -math.inf], [0.0, 0.0, -math.inf]], requires_grad=True)
    loss = entropy(logits, reduction="none")
    loss.sum().backward()
    assert_close(loss, torch.tensor([0.0, 0.0, math.log(2)]))
    assert_close(logits.grad, torch.zeros(3, 3), rtol=0, atol=1e-7)  # a maximum, or flat: rounding only


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.ones(3, 0), r"at least one class along dim -1, got shape \(3, 0\)"),
        (torch.ones(3).int(), "logits must be floating point"),
    ],
)
def test_bad_input_is_named(logits, message):
    with pytest.raises(ValueError, match=message):
        entropy(logits)
