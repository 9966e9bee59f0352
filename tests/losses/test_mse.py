"""Squared error: torch, a loop, a value by thought, invariants, gradients, extremes."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import mse


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, generator=generator).double(), torch.randn(5, 3, generator=generator).double()


def test_matches_the_formula_read_aloud(pair):
    squares = [(p - t) ** 2 for p, t in zip(*(x.flatten().tolist() for x in pair), strict=True)]
    assert_close(mse(*pair).item(), sum(squares) / 15, rtol=1e-14, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(pair, reduction):
    assert_close(mse(*pair, reduction=reduction), F.mse_loss(*pair, reduction=reduction), rtol=1e-15, atol=0)


def test_the_best_constant_is_the_mean_and_leaves_the_variance(pair):
    _, target = pair
    best = target.mean()
    assert_close(mse(best.expand_as(target), target), target.var(correction=0), rtol=1e-14, atol=0)
    assert mse((best + 1e-3).expand_as(target), target) > mse(best.expand_as(target), target)


def test_scaling_both_by_ten_scales_the_loss_by_a_hundred(pair):
    assert_close(mse(10 * pair[0], 10 * pair[1]), 100 * mse(*pair), rtol=1e-14, atol=0)


def test_a_common_shift_changes_nothing(pair):
    assert_close(mse(pair[0] + 1, pair[1] + 1), mse(*pair), rtol=1e-14, atol=0)


def test_gradcheck(pair):
    assert torch.autograd.gradcheck(mse, tuple(x.requires_grad_() for x in pair))


def test_a_bf16_sum_of_many_ones_counts_them_all():  # added up in bf16 it would stop at 256
    ones = torch.ones(100_000, dtype=torch.bfloat16)
    assert mse(ones, torch.zeros_like(ones), reduction="sum").item() == 100_000


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.ones(3, 1), torch.ones(3), r"got prediction \(3, 1\), target \(3,\)"),
        (torch.ones(3).int(), torch.ones(3), "prediction must be floating point, got torch.int32"),
        (torch.ones(3), torch.ones(3).int(), "target must be floating point, got torch.int32"),
    ],
)
def test_bad_input_is_named(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        mse(prediction, target)
