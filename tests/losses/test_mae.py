"""Absolute error: torch, a loop, a value by thought, invariants, gradients, extremes."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import mae


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, generator=generator).double(), torch.randn(5, 3, generator=generator).double()


def test_matches_the_formula_read_aloud(pair):
    distances = [abs(p - t) for p, t in zip(*(x.flatten().tolist() for x in pair), strict=True)]
    assert_close(mae(*pair).item(), sum(distances) / 15, rtol=1e-14, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(pair, reduction):
    assert_close(mae(*pair, reduction=reduction), F.l1_loss(*pair, reduction=reduction), rtol=1e-15, atol=0)


def test_the_best_constant_is_the_median_wherever_the_outlier_is():
    for outlier in (4.0, 4000.0):
        target = torch.tensor([1.0, 2.0, outlier])
        losses = {guess: mae(torch.full((3,), guess), target, reduction="sum").item() for guess in (1.9, 2.0, 2.1)}
        assert min(losses, key=losses.get) == 2.0
        assert losses[2.0] == outlier - 1  # 1 + 0 + (outlier - 2)


def test_scale_and_shift(pair):
    assert_close(mae(10 * pair[0] + 3, 10 * pair[1] + 3), 10 * mae(*pair), rtol=1e-14, atol=0)


def test_swapping_prediction_and_target_changes_nothing(pair):
    assert_close(mae(*reversed(pair)), mae(*pair), rtol=0, atol=0)


def test_gradcheck(pair):
    assert torch.autograd.gradcheck(mae, tuple(x.requires_grad_() for x in pair))


def test_the_gradient_has_size_one_however_large_the_error_and_zero_at_none():
    prediction = torch.tensor([-1e38, -1e-38, 0.0, 1e38], requires_grad=True)
    mae(prediction, torch.zeros(4), reduction="sum").backward()
    assert prediction.grad.tolist() == [-1, -1, 0, 1]


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
        mae(prediction, target)
