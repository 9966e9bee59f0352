"""Focal loss: the paper's formulas (softmax and binary), cross-entropy at gamma 0, invariants, gradients, extremes."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import cross_entropy, focal

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(8, 4, generator=generator, dtype=torch.float64)
    return logits, torch.tensor([0, 1, 2, 3, 2, 1, 0, -100])


def slow_focal(logits, target, gamma, class_weights=None):
    """Sum and divisor, row by row."""
    total, divisor = 0.0, 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label == -100:
            continue
        p = math.exp(row[label]) / sum(math.exp(value) for value in row)
        weight = 1.0 if class_weights is None else class_weights[label].item()
        total -= weight * (1 - p) ** gamma * math.log(p)
        divisor += weight
    return total, divisor


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
def test_matches_the_formula_read_aloud(rows, gamma, class_weights):
    total, divisor = slow_focal(*rows, gamma, class_weights)
    options = {"gamma": gamma, "class_weights": class_weights}
    assert_close(focal(*rows, **options).item(), total / divisor, rtol=1e-12, atol=0)
    assert_close(focal(*rows, **options, reduction="sum").item(), total, rtol=1e-12, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
def test_gamma_zero_is_cross_entropy_exactly(rows, reduction, class_weights):
    options = {"class_weights": class_weights, "reduction": reduction}
    assert_close(focal(*rows, gamma=0.0, **options), cross_entropy(*rows, **options), rtol=0, atol=0)


def test_the_papers_binary_form_has_the_logits_zero_and_z():
    """Equations 4 and 5 with a sigmoid: alpha for the positive class, 1 - alpha for the negative."""
    z, y = torch.tensor([-2.0, -0.5, 1.0, 3.0], dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    p = z.sigmoid()
    p_t, alpha_t = torch.where(y == 1, p, 1 - p), torch.where(y == 1, 0.25, 0.75)
    expected = -alpha_t * (1 - p_t) ** 2 * p_t.log()
    weights = torch.tensor([0.75, 0.25], dtype=torch.float64)
    ours = focal(torch.stack([torch.zeros_like(z), z], -1), y, class_weights=weights, reduction="none")
    assert_close(ours, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("classes", [2, 10])
def test_a_model_that_knows_nothing(classes):
    loss = focal(torch.zeros(1, classes, dtype=torch.float64), torch.tensor([1]), gamma=3.0)
    assert_close(loss.item(), (1 - 1 / classes) ** 3 * math.log(classes), rtol=1e-14, atol=0)


def test_a_row_that_is_right_at_nine_tenths_counts_a_hundredth():
    logits = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log()
    ratio = focal(logits, torch.tensor([0])) / cross_entropy(logits, torch.tensor([0]))
    assert_close(ratio.item(), 0.01, rtol=1e-14, atol=0)


def test_a_common_shift_and_renamed_classes_change_nothing(rows):
    logits, target = rows[0][:-1], rows[1][:-1]
    order = torch.tensor([2, 0, 3, 1])
    expected = focal(logits, target, class_weights=WEIGHTS)
    renamed = focal(logits[:, order] + 3, order.argsort()[target], class_weights=WEIGHTS[order])
    assert_close(renamed, expected, rtol=1e-13, atol=0)


def test_an_ignored_row_is_as_if_it_were_not_there(rows):
    logits, target = rows[0].clone().requires_grad_(), rows[1]
    loss = focal(logits, target, class_weights=WEIGHTS)
    assert_close(loss, focal(rows[0][:-1], target[:-1], class_weights=WEIGHTS), rtol=1e-15, atol=0)
    loss.backward()
    assert (logits.grad[-1] == 0).all()
    other = torch.where(target == -100, 2, target)
    expected = focal(rows[0], torch.where(other == 2, -100, other))
    assert_close(focal(rows[0], other, ignore_index=2), expected, rtol=0, atol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradcheck(rows, gamma):
    def loss(logits):
        return focal(logits, rows[1], gamma=gamma, class_weights=WEIGHTS)

    assert torch.autograd.gradcheck(loss, (rows[0].requires_grad_(),))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits(gamma):
    """1 - p rounds to 0 in the first row, where (1 - p)**0.5 taken directly has an infinite slope."""
    logits = torch.tensor([[1e4, 0.0], [1e4, 0.0]], requires_grad=True)
    loss = focal(logits, torch.tensor([0, 1]), gamma=gamma, reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [0, 1e4]
    assert logits.grad.tolist() == [[0, 0], [1, -1]]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_impossible_classes_let_no_nan_through(gamma):
    """Row 0 has one possible class, the right one; row 1 is ignored, and the class that stands in for its label out."""
    logits = torch.tensor([[0.0, -math.inf, -math.inf], [-math.inf, 0.0, 0.0]], requires_grad=True)
    loss = focal(logits, torch.tensor([0, -100]), gamma=gamma, reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [0, 0]
    assert logits.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("logits", "target", "options", "message"),
    [
        (torch.ones(2, 4), torch.ones(2, 1).long(), {}, r"logits \(2, 4\) and labels \(2, 1\)"),
        (torch.ones(2, 1), torch.zeros(2).long(), {}, "at least 2 classes"),
        (torch.ones(2, 4), torch.ones(2), {}, "class labels must be int64"),
        (torch.ones(2, 4).int(), torch.ones(2).long(), {}, "logits must be floating point"),
        (torch.ones(2, 4), torch.ones(2).long(), {"gamma": -1.0}, "at least 0 and finite, got -1.0"),
        (torch.ones(2, 4), torch.ones(2).long(), {"gamma": math.inf}, "at least 0 and finite, got inf"),
        (torch.ones(2, 4), torch.ones(2).long(), {"class_weights": torch.ones(3)}, r"must be \(4,\), one per class"),
    ],
)
def test_bad_input_is_named(logits, target, options, message):
    with pytest.raises(ValueError, match=message):
        focal(logits, target, **options)


@pytest.mark.parametrize("label", [4, -1])
def test_a_label_out_of_range_is_an_index_error(label):
    with pytest.raises((IndexError, RuntimeError), match=f"index {label} is out of bounds"):
        focal(torch.ones(1, 4), torch.tensor([label]))
