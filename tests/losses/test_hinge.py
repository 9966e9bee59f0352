"""The binary hinge: the formula, scikit-learn, values by thought, invariants, gradients, extremes."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import hinge


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    score = 2 * torch.randn(20, generator=generator, dtype=torch.float64)
    return score, torch.randn(20, generator=generator).sign().double()


@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
def test_matches_the_formula_read_aloud(pair, margin):
    rows = list(zip(*(x.tolist() for x in pair), strict=True))
    expected = sum(max(0.0, margin - y * f) for f, y in rows) / 20
    assert_close(hinge(*pair, margin=margin).item(), expected, rtol=1e-14, atol=0)


def test_matches_scikit_learn(pair):
    metrics = pytest.importorskip("sklearn.metrics")
    score, target = pair
    assert_close(hinge(score, target).item(), metrics.hinge_loss(target.numpy(), score.numpy()), rtol=1e-14, atol=0)


def test_values_by_thought():
    score = torch.tensor([2.0, 1.0, 0.25, 0.0, -3.0])
    assert hinge(score, torch.ones(5), reduction="none").tolist() == [0, 0, 0.75, 1, 4]


def test_flipping_both_signs_changes_nothing(pair):
    assert_close(hinge(-pair[0], -pair[1]), hinge(*pair), rtol=0, atol=0)


def test_scaling_scores_and_margin_scales_the_loss(pair):
    assert_close(hinge(10 * pair[0], pair[1], margin=10.0), 10 * hinge(*pair), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.float32])
def test_targets_of_any_real_dtype(pair, dtype):
    assert_close(hinge(pair[0], pair[1].to(dtype)), hinge(*pair), rtol=0, atol=0)


def test_gradcheck(pair):
    assert torch.autograd.gradcheck(lambda score: hinge(score, pair[1]), (pair[0].requires_grad_(),))


def test_only_rows_short_of_the_margin_have_a_gradient():
    score = torch.tensor([2.0, 1.0, 0.5, -0.5, 1e30, -1e30], requires_grad=True)
    loss = hinge(score, torch.tensor([1, 1, 1, -1, 1, 1]), reduction="none")
    loss.sum().backward()
    assert score.grad.tolist() == [0, 0, -1, 1, 0, -1]
    assert loss.tolist() == [0, 0, 0.5, 0.5, 0, torch.tensor(1e30).item()]


@pytest.mark.parametrize(
    ("score", "target", "margin", "message"),
    [
        (torch.ones(3, 1), torch.ones(3), 1.0, r"got score \(3, 1\), target \(3,\)"),
        (torch.ones(3).int(), torch.ones(3), 1.0, "score must be floating point"),
        (torch.ones(3), torch.ones(3).bool(), 1.0, r"-1 or \+1, got booleans: pass 2 \* target.float\(\) - 1"),
        (torch.ones(3), torch.ones(3), -1.0, "margin must be positive and finite, got -1.0"),
        (torch.ones(3), torch.ones(3), math.inf, "margin must be positive and finite, got inf"),
    ],
)
def test_bad_input_is_named(score, target, margin, message):
    with pytest.raises(ValueError, match=message):
        hinge(score, target, margin=margin)
