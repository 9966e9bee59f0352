"""The two supervised objectives against formulas read aloud."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import classification, next_token, regression

IDENTITY = nn.Identity()


def slow_cross_entropy(logits, labels):
    """Add minus log of the softmax at the label, one target at a time, skipping -100."""
    total, count, right = 0.0, 0, 0
    for row, label in zip(logits.flatten(0, -2).double().tolist(), labels.flatten().tolist(), strict=True):
        if label == -100:
            continue
        biggest = max(row)
        normalizer = math.log(sum(math.exp(value - biggest) for value in row)) + biggest
        total, count, right = total + normalizer - row[label], count + 1, right + (row.index(biggest) == label)
    return total, count, right


def labelled(*shape, classes=7, seed=0, dtype=torch.float64):
    """Logits and labels, about a third of them masked."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(*shape, classes, generator=generator, dtype=dtype) * 3
    labels = torch.randint(0, classes, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < 0.3] = -100
    return logits, labels


@pytest.mark.parametrize("shape", [(9,), (4, 6), (2, 3, 5)])
def test_classification_equals_the_slow_sum(shape):
    logits, labels = labelled(*shape)
    total, count, right = slow_cross_entropy(logits, labels)
    loss = classification(IDENTITY, (logits, labels))
    assert_close(loss.total.item(), total, rtol=1e-12, atol=0)
    assert (loss.count, int(loss.metrics["accuracy"])) == (count, right)
    assert isinstance(loss.count, int)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_model_that_knows_nothing_loses_log_k(classes):
    loss = classification(IDENTITY, (torch.zeros(6, classes, dtype=torch.float64), torch.arange(6) % 2))
    assert_close(loss.total.item() / 6, math.log(classes), rtol=1e-14, atol=0)


def test_a_sure_and_right_model_loses_nothing():
    loss = classification(IDENTITY, (torch.eye(5) * 1e4, torch.arange(5)))
    assert (loss.total.item(), int(loss.metrics["accuracy"])) == (0.0, 5)


def test_masked_rows_do_not_matter_whatever_they_hold():
    logits, labels = labelled(20)
    filled = torch.where((labels == -100)[:, None], torch.full_like(logits, 1e30), logits)
    before, after = (classification(IDENTITY, (rows, labels)) for rows in (logits, filled))
    assert_close(after.total, before.total, rtol=0, atol=0)
    assert after.metrics["accuracy"] == before.metrics["accuracy"]


def test_shifting_all_logits_of_a_row_changes_nothing():
    logits, labels = labelled(20)
    shift = torch.linspace(-5, 5, 20, dtype=torch.float64)[:, None]
    moved = classification(IDENTITY, (logits + shift, labels)).total
    assert_close(moved, classification(IDENTITY, (logits, labels)).total, rtol=1e-12, atol=0)


def test_the_order_of_rows_does_not_matter():
    logits, labels = labelled(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    permuted = classification(IDENTITY, (logits[order], labels[order])).total
    assert_close(permuted, classification(IDENTITY, (logits, labels)).total, rtol=1e-12, atol=0)


def test_extreme_logits_give_the_loss_and_gradient_known_by_thought():
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = classification(IDENTITY, (logits, torch.tensor([1])))
    loss.total.backward()
    assert loss.total.item() == 2e4
    assert_close(logits.grad, torch.tensor([[1.0, -1.0]]))  # softmax minus the target


def test_gradients():
    logits, labels = labelled(2, 3)
    x, y = (tensor.double() for tensor in (logits[..., 0], logits[..., 1]))
    assert torch.autograd.gradcheck(lambda z: classification(IDENTITY, (z, labels)).total, logits.requires_grad_())
    assert torch.autograd.gradcheck(lambda z: regression(IDENTITY, (z, y)).total, x.detach().requires_grad_())


def test_the_next_token_costs_what_classification_does():
    logits, labels = labelled(2, 3, 5)
    one, other = next_token(IDENTITY, (logits, labels)), classification(IDENTITY, (logits, labels))
    assert_close(one.total, other.total, rtol=0, atol=0)
    assert (one.count, one.metrics) == (other.count, {})


@pytest.mark.parametrize("z_loss", [1e-4, 0.5])
def test_the_z_loss_is_the_squared_log_of_the_normaliser_at_each_target(z_loss):
    logits, labels = labelled(4, 6)
    penalty = sum(
        math.log(sum(math.exp(value) for value in row)) ** 2
        for row, label in zip(logits.flatten(0, 1).tolist(), labels.flatten().tolist(), strict=True)
        if label != -100
    )
    plain, loss = next_token(IDENTITY, (logits, labels)), next_token(IDENTITY, (logits, labels), z_loss=z_loss)
    assert_close(loss.total.item(), plain.total.item() + z_loss * penalty, rtol=1e-12, atol=0)
    assert_close(loss.metrics["cross_entropy"], plain.total, rtol=0, atol=0)
    assert loss.count == plain.count


def test_normalised_logits_have_no_z_loss():
    logits, labels = labelled(8)
    loss = next_token(IDENTITY, (logits.log_softmax(-1), labels), z_loss=1.0)
    assert_close(loss.total, loss.metrics["cross_entropy"], rtol=1e-12, atol=0)


def test_masked_rows_have_no_z_loss_and_no_gradient():
    logits, labels = labelled(20)
    filled = torch.where((labels == -100)[:, None], torch.full_like(logits, 1e4), logits).requires_grad_()
    loss = next_token(IDENTITY, (filled, labels), z_loss=0.1)
    loss.total.backward()
    assert_close(loss.total.detach(), next_token(IDENTITY, (logits, labels), z_loss=0.1).total, rtol=0, atol=0)
    assert not filled.grad[labels == -100].any()


def test_next_token_gradcheck():
    logits, labels = labelled(3, 4)
    labels[0] = 1
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: next_token(IDENTITY, (z, labels), z_loss=0.1).total, logits)


def test_a_negative_z_loss_is_refused():
    with pytest.raises(ValueError, match="z_loss must be 0 or more, got -1"):
        next_token(IDENTITY, labelled(3), z_loss=-1)


@pytest.mark.parametrize("objective", [classification, next_token, regression])
def test_no_rows_are_no_targets(objective):
    """A rank for which no row is left: loss 0 of 0 targets, and a gradient of zeros rather than none."""
    model = nn.Linear(3, 2)
    y = torch.zeros(0, dtype=torch.int64) if objective is not regression else torch.zeros(0, 2)
    loss = objective(model, (torch.zeros(0, 3), y))
    loss.total.backward()
    assert (loss.total.item(), loss.count) == (0.0, 0)
    assert_close(model.weight.grad, torch.zeros(2, 3))


def test_regression_equals_the_slow_sum():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    total = sum((a - b) ** 2 for a, b in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True))
    loss = regression(IDENTITY, (x, y))
    assert_close(loss.total.item(), total, rtol=1e-12, atol=0)
    assert (loss.count, loss.metrics) == (12, {})


def test_the_best_constant_loses_the_variance():
    y = torch.tensor([1.0, 2.0, 6.0, 7.0], dtype=torch.float64)
    loss = regression(IDENTITY, (y.mean().expand(4), y))
    assert float(loss.total) / loss.count == y.var(correction=0).item() == 6.5


@pytest.mark.parametrize(
    ("objective", "x", "y", "message"),
    [
        (classification, torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64), r"logits \(4, 3\) and targets \(5,\)"),
        (classification, torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.int64), r"logits \(2, 3, 4\)"),
        (regression, torch.zeros(4, 1), torch.zeros(4), r"got \(4, 1\) and \(4,\). Use squeeze"),
    ],
)
def test_shapes_that_do_not_fit_are_named(objective, x, y, message):
    with pytest.raises(ValueError, match=message):
        objective(IDENTITY, (x, y))
