"""Triplet loss: the formula, torch, values by thought, invariants, gradients, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import triplet


@pytest.fixture
def three():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(12, 3, generator=generator, dtype=torch.float64) for _ in range(3))


@pytest.mark.parametrize("margin", [0.2, 1.0, 5.0])
def test_matches_the_formula_read_aloud(three, margin):
    total = 0.0
    for anchor, positive, negative in zip(*(x.tolist() for x in three), strict=True):
        total += max(0.0, math.dist(anchor, positive) - math.dist(anchor, negative) + margin)
    assert_close(triplet(*three, margin=margin).item(), total / 12, rtol=1e-14, atol=0)


@pytest.mark.parametrize("margin", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(three, margin, reduction):
    expected = F.triplet_margin_loss(*three, margin=margin, eps=0.0, reduction=reduction)
    assert_close(triplet(*three, margin=margin, reduction=reduction), expected, rtol=1e-13, atol=1e-15)


def test_values_by_thought():
    anchor = torch.zeros(3, 2)
    positive = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
    negative = torch.tensor([[0.0, 5.5], [6.0, 8.0], [0.0, 0.0]])
    assert triplet(anchor, positive, negative, reduction="none").tolist() == [0.5, 0.0, 1.0]


def test_moving_or_rotating_the_space_changes_nothing(three):
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert_close(triplet(*(x @ rotation + 2 for x in three)), triplet(*three), rtol=1e-13, atol=0)


def test_scaling_space_and_margin_scales_the_loss(three):
    assert_close(triplet(*(10 * x for x in three), margin=10.0), 10 * triplet(*three), rtol=1e-13, atol=0)


def test_further_dimensions_are_further_triplets(three):
    stacked = triplet(*(x.view(3, 4, 3) for x in three), reduction="none")
    assert_close(stacked.flatten(), triplet(*three, reduction="none"), rtol=0, atol=0)


def test_gradcheck(three):
    assert torch.autograd.gradcheck(triplet, tuple(x.requires_grad_() for x in three))


def test_collapsed_embeddings_cost_the_margin_and_have_no_gradient():
    three = [torch.ones(2, 3, requires_grad=True) for _ in range(3)]
    loss = triplet(*three, margin=0.75)
    loss.backward()
    assert loss.item() == 0.75
    assert all((x.grad == 0).all() for x in three)


def test_extreme_distances():
    """Squares of float32 numbers this large overflow in float16; here 3e4 is squared in float32."""
    three = [torch.tensor([[value, 0.0]], dtype=torch.float16, requires_grad=True) for value in (0.0, 3e4, -1.0)]
    loss = triplet(*three)
    loss.backward()
    assert loss.item() == 3e4  # 30000 - 1 + 1
    assert [x.grad.tolist() for x in three] == [[[-2, 0]], [[1, 0]], [[1, 0]]]


@pytest.mark.parametrize(
    ("three", "margin", "message"),
    [
        (
            (torch.ones(2, 3), torch.ones(3), torch.ones(2, 3)),
            1.0,
            r"anchor \(2, 3\), positive \(3,\), negative \(2, 3\)",
        ),
        ((torch.ones(2, 3).int(), torch.ones(2, 3), torch.ones(2, 3)), 1.0, "anchor must be floating point"),
        ((torch.ones(2, 3), torch.ones(2, 3).int(), torch.ones(2, 3)), 1.0, "positive must be floating point"),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3).int()), 1.0, "negative must be floating point"),
        ((torch.tensor(1.0), torch.tensor(1.0), torch.tensor(1.0)), 1.0, "got scalars"),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3)), 0.0, "margin must be positive and finite, got 0.0"),
    ],
)
def test_bad_input_is_named(three, margin, message):
    with pytest.raises(ValueError, match=message):
        triplet(*three, margin=margin)
