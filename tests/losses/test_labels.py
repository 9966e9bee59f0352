"""Which labels fit, which are ignored, and what each weighs."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses.labels import check_labels, label_weights


def test_ignored_labels_become_a_valid_class_that_weighs_nothing():
    label, weight = label_weights(
        torch.tensor([[2, 9], [9, 1]]), num_classes=3, class_weights=torch.tensor([5.0, 7.0, 11.0]), ignore_index=9
    )
    assert label.tolist() == [[2, 0], [0, 1]]
    assert weight.tolist() == [[11.0, 0.0], [0.0, 7.0]]


def test_without_class_weights_every_label_weighs_one():
    _, weight = label_weights(torch.tensor([0, -100, 0]), num_classes=1, class_weights=None, ignore_index=-100)
    assert weight.tolist() == [1.0, 0.0, 1.0]


def test_an_ignored_class_may_have_a_weight_that_is_no_number():
    weights = torch.tensor([torch.nan, 2.0])
    _, weight = label_weights(torch.tensor([0, 1]), num_classes=2, class_weights=weights, ignore_index=0)
    assert_close(weight, torch.tensor([0.0, 2.0]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (torch.ones(2, 5, 3), torch.ones(2, 3).long(), r"logits \(2, 5, 3\) and labels \(2, 3\). Classes come last"),
        (torch.ones(4, 3), torch.ones(4, 1).long(), r"labels \(4, 1\)"),
        (torch.tensor(1.0), torch.tensor(0), r"logits \(\) and labels \(\)"),
        (torch.ones(4, 1), torch.zeros(4).long(), r"at least 2 classes, got logits \(4, 1\)"),
        (torch.ones(4, 3), torch.ones(4), r"int64, got torch.float32: convert them with .long\(\)"),
        (torch.ones(4, 3), torch.ones(4).bool(), "int64, got torch.bool"),
    ],
)
def test_labels_that_do_not_fit_are_refused(logits, target, message):
    with pytest.raises(ValueError, match=message):
        check_labels(logits, target, min_classes=2)


def test_class_weights_must_be_one_per_class():
    with pytest.raises(ValueError, match=r"class_weights must be \(3,\), one per class, got \(2,\)"):
        label_weights(torch.tensor([0]), num_classes=3, class_weights=torch.ones(2), ignore_index=-100)


def test_class_weights_must_be_floating_point():
    with pytest.raises(ValueError, match="class_weights must be floating point"):
        label_weights(torch.tensor([0]), num_classes=2, class_weights=torch.tensor([1, 2]), ignore_index=-100)
