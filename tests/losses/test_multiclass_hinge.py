"""The multiclass hinge: the formula, torch, the binary hinge, values by thought, invariants, gradients, extremes."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import hinge, multiclass_hinge


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(9, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (9,), generator=generator)


@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
def test_matches_the_formula_read_aloud(rows, margin):
    total = 0.0
    for row, label in zip(rows[0].tolist(), rows[1].tolist(), strict=True):
        total += sum(max(0.0, margin - row[label] + row[k]) for k in range(4) if k != label) / 4
    assert_close(multiclass_hinge(*rows, margin=margin).item(), total / 9, rtol=1e-14, atol=0)


@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch(rows, margin, reduction):
    expected = F.multi_margin_loss(*rows, margin=margin, reduction=reduction)
    assert_close(multiclass_hinge(*rows, margin=margin, reduction=reduction), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("classes", [2, 5])
def test_equal_scores_cost_the_margin_for_every_wrong_class(classes):
    loss = multiclass_hinge(torch.zeros(1, classes, dtype=torch.float64), torch.tensor([1]), margin=3.0)
    assert_close(loss.item(), 3 * (classes - 1) / classes, rtol=1e-15, atol=0)


def test_with_two_classes_it_is_half_the_binary_hinge_of_the_lead(rows):
    logits, label = rows[0][:, :2], rows[1] % 2
    lead = logits[:, 1] - logits[:, 0]
    assert_close(multiclass_hinge(logits, label), hinge(lead, 2 * label - 1) / 2, rtol=1e-14, atol=0)


def test_a_common_shift_changes_nothing(rows):
    shift = torch.arange(9.0, dtype=torch.float64).unsqueeze(1)
    assert_close(multiclass_hinge(rows[0] + shift, rows[1]), multiclass_hinge(*rows), rtol=1e-14, atol=0)


def test_renaming_the_classes_changes_nothing(rows):
    order = torch.tensor([2, 0, 3, 1])
    renamed = multiclass_hinge(rows[0][:, order], order.argsort()[rows[1]])
    assert_close(renamed, multiclass_hinge(*rows), rtol=1e-14, atol=0)


def test_further_dimensions_are_further_rows(rows):
    stacked = multiclass_hinge(rows[0].view(3, 3, 4), rows[1].view(3, 3), reduction="none")
    assert_close(stacked.flatten(), multiclass_hinge(*rows, reduction="none"), rtol=0, atol=0)


def test_gradcheck(rows):
    assert torch.autograd.gradcheck(lambda x: multiclass_hinge(x, rows[1]), (rows[0].requires_grad_(),))


def test_extreme_logits():
    logits = torch.tensor([[1e30, 0.0, -1e30], [0.0, 1e4, -1e4]], requires_grad=True)
    loss = multiclass_hinge(logits, torch.tensor([0, 0]), reduction="none")
    loss.sum().backward()
    assert_close(loss, torch.tensor([0.0, 10001 / 3]), rtol=1e-7, atol=0)
    assert_close(logits.grad, torch.tensor([[0.0, 0, 0], [-1 / 3, 1 / 3, 0]]), rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("logits", "target", "margin", "message"),
    [
        (torch.ones(3, 4), torch.ones(3, 1).long(), 1.0, r"logits \(3, 4\) and labels \(3, 1\)"),
        (torch.ones(3, 1), torch.zeros(3).long(), 1.0, "at least 2 classes"),
        (torch.ones(3, 4), torch.zeros(3), 1.0, "class labels must be int64"),
        (torch.ones(3, 4).int(), torch.zeros(3).long(), 1.0, "logits must be floating point"),
        (torch.ones(3, 4), torch.zeros(3).long(), 0.0, "margin must be positive and finite, got 0.0"),
    ],
)
def test_bad_input_is_named(logits, target, margin, message):
    with pytest.raises(ValueError, match=message):
        multiclass_hinge(logits, target, margin=margin)


@pytest.mark.parametrize("label", [4, -100])
def test_a_label_out_of_range_is_an_index_error(label):
    with pytest.raises((IndexError, RuntimeError), match=f"index {label} is out of bounds"):
        multiclass_hinge(torch.ones(1, 4), torch.tensor([label]))
