"""Cross-entropy: the formula with every option, torch with every option, values by thought, gradients, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import cross_entropy, softmax

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)
OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"class_weights": WEIGHTS},
    {"class_weights": WEIGHTS, "label_smoothing": 0.3},
    {"ignore_index": 2},
    {"ignore_index": 2, "class_weights": WEIGHTS, "label_smoothing": 0.3},
]


@pytest.fixture
def rows():
    """Eight rows of four classes; the last label is -100, which every test maps to a class or leaves ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(8, 4, generator=generator, dtype=torch.float64)
    return logits, torch.tensor([0, 1, 2, 3, 2, 1, 0, -100])


def slow_cross_entropy(logits, target, label_smoothing=0.0, class_weights=None, ignore_index=-100):
    """Sum and divisor: one row at a time, the smoothed target spelt out class by class."""
    total, divisor = 0.0, 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label == ignore_index:
            continue
        normalizer = sum(math.exp(value) for value in row)
        weights = [1.0] * len(row) if class_weights is None else class_weights.tolist()
        for k, value in enumerate(row):
            share = label_smoothing / len(row) + (1 - label_smoothing) * (k == label)
            total -= weights[k] * share * math.log(math.exp(value) / normalizer)
        divisor += weights[label]
    return total, divisor


def without(label, target):
    """The target with -100 replaced where another label is the one to ignore."""
    return torch.where(target == -100, label, target)


@pytest.mark.parametrize("options", OPTIONS)
def test_matches_the_formula_read_aloud(rows, options):
    logits, target = rows
    if "ignore_index" in options:
        target = without(options["ignore_index"], target)
    total, divisor = slow_cross_entropy(logits, target, **options)
    assert_close(cross_entropy(logits, target, **options).item(), total / divisor, rtol=1e-13, atol=0)
    assert_close(cross_entropy(logits, target, **options, reduction="sum").item(), total, rtol=1e-13, atol=0)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_matches_torch_with_its_gradient(rows, options, reduction):
    logits, target = rows
    if "ignore_index" in options:
        target = without(options["ignore_index"], target)
    theirs = {("weight" if key == "class_weights" else key): value for key, value in options.items()}
    ours = cross_entropy(logits.requires_grad_(), target, **options, reduction=reduction)
    expected = F.cross_entropy(logits, target, **theirs, reduction=reduction)
    assert_close(ours, expected, rtol=1e-13, atol=0)
    gradients = [torch.autograd.grad(loss.sum(), logits)[0] for loss in (ours, expected)]
    assert_close(*gradients, rtol=1e-12, atol=1e-15)


def test_classes_come_last_where_torch_has_them_second():
    logits = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.randint(0, 4, (2, 5, 3), generator=torch.Generator().manual_seed(1))
    expected = F.cross_entropy(logits.movedim(-1, 1), target, label_smoothing=0.1)
    assert_close(cross_entropy(logits, target, label_smoothing=0.1), expected, rtol=1e-13, atol=0)


def test_one_row_needs_no_batch():
    assert_close(cross_entropy(torch.zeros(4, dtype=torch.float64), torch.tensor(2)).item(), math.log(4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_model_that_knows_nothing_loses_log_k_smoothed_or_not(smoothing, classes):
    logits = torch.zeros(6, classes, dtype=torch.float64)
    loss = cross_entropy(logits, torch.arange(6) % 2, label_smoothing=smoothing)
    assert_close(loss.item(), math.log(classes), rtol=1e-14, atol=0)


def test_the_gradient_is_the_probabilities_minus_the_one_hot_target(rows):
    logits, target = rows[0].requires_grad_(), rows[1].clamp(min=0)
    cross_entropy(logits, target, reduction="sum").backward()
    assert_close(logits.grad, softmax(logits.detach()) - F.one_hot(target, 4), rtol=1e-13, atol=1e-15)


def test_a_common_shift_changes_nothing(rows):
    shift = torch.arange(8.0).unsqueeze(1)
    assert_close(cross_entropy(rows[0] + shift, rows[1]), cross_entropy(*rows), rtol=1e-14, atol=0)


def test_renaming_the_classes_changes_nothing(rows):
    logits, target = rows[0], rows[1].clamp(min=0)
    order = torch.tensor([2, 0, 3, 1])  # new class k was order[k]
    renamed = cross_entropy(logits[:, order], order.argsort()[target], class_weights=WEIGHTS[order])
    assert_close(renamed, cross_entropy(logits, target, class_weights=WEIGHTS), rtol=1e-14, atol=0)


def test_scaling_all_class_weights_leaves_the_mean(rows):
    scaled = cross_entropy(*rows, class_weights=10 * WEIGHTS, label_smoothing=0.2)
    assert_close(scaled, cross_entropy(*rows, class_weights=WEIGHTS, label_smoothing=0.2), rtol=1e-14, atol=0)


def test_an_ignored_row_is_as_if_it_were_not_there(rows):
    logits, target = rows[0].clone().requires_grad_(), rows[1]
    loss = cross_entropy(logits, target, class_weights=WEIGHTS, label_smoothing=0.1)
    expected = cross_entropy(rows[0][:-1], target[:-1], class_weights=WEIGHTS, label_smoothing=0.1)
    assert_close(loss, expected, rtol=1e-15, atol=0)
    loss.backward()
    assert (logits.grad[-1] == 0).all()


def test_no_targets_sum_to_zero_and_have_no_mean():
    logits, target = torch.zeros(3, 4), torch.full((3,), -100)
    assert cross_entropy(logits, target, reduction="sum").item() == 0
    assert cross_entropy(logits, target).isnan()


@pytest.mark.parametrize("options", OPTIONS)
def test_gradcheck(rows, options):
    logits, target = rows
    if "ignore_index" in options:
        target = without(options["ignore_index"], target)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, target, **options), (logits.requires_grad_(),))


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_extreme_logits(smoothing):
    logits = torch.tensor([[1e4, 0.0], [1e4, 0.0], [-1e4, 1e4]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0, 1, 0]), label_smoothing=smoothing, reduction="none")
    near, far = smoothing / 2, 1 - smoothing / 2
    assert_close(loss, torch.tensor([1e4 * near, 1e4 * far, 2e4 * far]), rtol=1e-6, atol=0)
    loss.sum().backward()
    assert_close(logits.grad, torch.tensor([[near, -near], [far, -far], [-far, far]]), rtol=1e-6, atol=0)


def test_an_impossible_wrong_class_costs_nothing_and_an_impossible_right_one_everything():
    logits = torch.tensor([[0.0, 0.0, -math.inf]] * 2, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0, 2]), reduction="none")
    assert_close(loss, torch.tensor([math.log(2), math.inf]))
    (gradient,) = torch.autograd.grad(loss[0], logits)
    assert gradient.tolist() == [[-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_an_ignored_row_may_hold_impossible_classes(smoothing):
    logits = torch.tensor([[-math.inf, 0.0]], requires_grad=True)
    options = {"label_smoothing": smoothing, "class_weights": torch.ones(2)}
    loss = cross_entropy(logits, torch.tensor([-100]), **options, reduction="sum")
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("logits", "target", "options", "message"),
    [
        (
            torch.ones(2, 4, 3),
            torch.ones(2, 3).long(),
            {},
            r"logits \(2, 4, 3\) and labels \(2, 3\). Classes come last",
        ),
        (torch.ones(2, 0), torch.ones(2).long(), {}, r"at least 1 classes, got logits \(2, 0\)"),
        (torch.ones(2, 4), torch.ones(2), {}, "class labels must be int64, got torch.float32"),
        (torch.ones(2, 4).long(), torch.ones(2).long(), {}, "logits must be floating point"),
        (torch.ones(2, 4), torch.ones(2).long(), {"label_smoothing": 1.1}, "between 0 and 1, got 1.1"),
        (torch.ones(2, 4), torch.ones(2).long(), {"label_smoothing": -0.1}, "between 0 and 1, got -0.1"),
        (torch.ones(2, 4), torch.ones(2).long(), {"label_smoothing": math.nan}, "between 0 and 1, got nan"),
        (torch.ones(2, 4), torch.ones(2).long(), {"class_weights": torch.ones(3)}, r"must be \(4,\), one per class"),
    ],
)
def test_bad_input_is_named(logits, target, options, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy(logits, target, **options)


@pytest.mark.parametrize("label", [4, -1])
def test_a_label_out_of_range_is_an_index_error(label):
    with pytest.raises((IndexError, RuntimeError), match=f"index {label} is out of bounds"):
        cross_entropy(torch.ones(1, 4), torch.tensor([label]))
