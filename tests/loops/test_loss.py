"""What an objective may return."""

import pytest
import torch

from course_lib.loops import Loss
from course_lib.loops.loss import exact_dtype

ONE = torch.tensor(1.0)


@pytest.mark.parametrize("count", [None, 0, 3, torch.tensor(3)])
def test_counts_that_are_right(count):
    assert Loss(ONE, count).count is count


@pytest.mark.parametrize(
    ("total", "count", "metrics", "message"),
    [
        (torch.ones(2), 2, {}, r"must be a scalar, got shape \(2,\)"),
        (ONE, -1, {}, "whole number of targets or None, got -1"),
        (ONE, 2.0, {}, "whole number of targets or None, got 2.0"),
        (ONE, torch.tensor(2.0), {}, "one whole number, got a torch.float32 tensor"),
        (ONE, torch.tensor([2]), {}, r"of shape \(1,\)"),
        (ONE, 2, {"loss": ONE}, "may not be called 'loss'"),
        (ONE, 2, {"count": ONE}, "may not be called 'count'"),
        (ONE, 2, {"right": torch.ones(2)}, r"'right' must be a scalar tensor, .* got shape \(2,\)"),
        (ONE, 2, {"right": 1.0}, "'right' must be a scalar tensor, .* got float"),
    ],
)
def test_what_is_no_loss_is_named(total, count, metrics, message):
    with pytest.raises(ValueError, match=message):
        Loss(total, count, metrics)


def test_sums_are_wide_except_where_there_is_nothing_wider():
    assert exact_dtype(torch.device("cpu")) == torch.float64
    assert exact_dtype(torch.device("mps")) == torch.float32
