"""Distillation: Hinton's formula, torch, its high-temperature limit, invariants, gradients, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import cross_entropy, distillation, kl_divergence


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.tensor([0, 3, 1, 2, 2, 0])


def slow_softmax(row, temperature=1.0):
    weights = [math.exp(value / temperature) for value in row]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("hard_weight", [0.1, 1.0])
def test_matches_the_formula_read_aloud(rows, temperature, hard_weight):
    total = 0.0
    for student, teacher, label in zip(*(x.tolist() for x in rows), strict=True):
        p, q = slow_softmax(teacher, temperature), slow_softmax(student, temperature)
        soft = temperature**2 * sum(p[k] * math.log(p[k] / q[k]) for k in range(4))
        total += (1 - hard_weight) * soft - hard_weight * math.log(slow_softmax(student)[label])
    loss = distillation(*rows, temperature=temperature, hard_weight=hard_weight)
    assert_close(loss.item(), total / 6, rtol=1e-12, atol=0)


def test_matches_torch(rows):
    student, teacher, target = rows
    soft = F.kl_div((student / 3).log_softmax(-1), (teacher / 3).softmax(-1), reduction="batchmean") * 9
    assert_close(distillation(student, teacher, temperature=3.0), soft, rtol=1e-13, atol=0)
    mixed = 0.75 * soft + 0.25 * F.cross_entropy(student, target)
    assert_close(distillation(*rows, temperature=3.0, hard_weight=0.25), mixed, rtol=1e-13, atol=0)


def test_a_student_that_agrees_up_to_a_shift_loses_nothing(rows):
    teacher = rows[1]
    assert distillation(teacher.float(), teacher.float(), temperature=7.0).item() == 0
    assert_close(distillation(teacher + 3, teacher).item(), 0.0, rtol=0, atol=1e-15)


def test_at_temperature_one_without_labels_it_is_the_divergence(rows):
    student, teacher, _ = rows
    assert_close(distillation(student, teacher, temperature=1.0), kl_divergence(teacher, student), rtol=0, atol=0)


def test_at_high_temperature_it_matches_centred_logits():
    """Section 2.1 of the paper: half the mean squared difference of the logits, once each row's mean is gone."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    difference = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))
    limit = difference.square().mean() / 2
    assert_close(distillation(student, teacher, temperature=1e4), limit, rtol=1e-3, atol=0)  # the next term: 1/T


def test_the_gradient_keeps_its_size_when_the_temperature_rises(rows):
    """The reason for the factor: without it this ratio would be a hundredth of a hundredth."""
    sizes = []
    for temperature in (100.0, 1000.0):
        student = rows[0].clone().requires_grad_()
        distillation(student, rows[1], temperature=temperature).backward()
        sizes.append(student.grad.norm())
    assert_close(sizes[0], sizes[1], rtol=0.05, atol=0)


def test_no_gradient_reaches_the_teacher(rows):
    student, teacher, _ = (x.clone().requires_grad_(x.is_floating_point()) for x in rows)
    distillation(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_a_row_without_a_label_hears_only_the_teacher(rows):
    student, teacher, target = rows
    target[0] = -100
    loss = distillation(student, teacher, target, hard_weight=0.3, reduction="none")
    soft = distillation(student, teacher, reduction="none")
    hard = cross_entropy(student, target, reduction="none")
    assert_close(loss, 0.7 * soft + 0.3 * hard, rtol=1e-14, atol=0)
    assert_close(loss[0], 0.7 * soft[0], rtol=1e-14, atol=0)
    mean = distillation(student, teacher, target, hard_weight=0.3)
    assert_close(mean, loss.sum() / 6, rtol=1e-14, atol=0)  # all six rows count


def test_renaming_the_classes_changes_nothing(rows):
    student, teacher, target = rows
    order = torch.tensor([2, 0, 3, 1])
    renamed = distillation(student[:, order], teacher[:, order], order.argsort()[target], hard_weight=0.5)
    assert_close(renamed, distillation(*rows, hard_weight=0.5), rtol=1e-13, atol=0)


def test_gradcheck(rows):
    _, teacher, target = rows

    def loss(student):
        return distillation(student, teacher, target, temperature=3.0, hard_weight=0.3)

    assert torch.autograd.gradcheck(loss, (rows[0].requires_grad_(),))


def test_extreme_logits_and_a_class_the_teacher_rules_out():
    student = torch.tensor([[1e4, 0.0], [0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 1e4], [0.0, -math.inf]])
    loss = distillation(student, teacher, temperature=2.0, reduction="none")
    loss.sum().backward()
    assert_close(loss, torch.tensor([4 * 5e3, 4 * math.log(2)]))
    assert_close(student.grad, torch.tensor([[2.0, -2.0], [-1.0, 1.0]]))


@pytest.mark.parametrize(
    ("student", "teacher", "target", "options", "message"),
    [
        (torch.ones(2, 3), torch.ones(3), None, {}, r"got student_logits \(2, 3\), teacher_logits \(3,\)"),
        (torch.ones(2, 3).int(), torch.ones(2, 3), None, {}, "student_logits must be floating point"),
        (torch.ones(2, 3), torch.ones(2, 3).int(), None, {}, "teacher_logits must be floating point"),
        (torch.ones(2, 3), torch.ones(2, 3), None, {"temperature": 0.0}, "temperature must be positive and finite"),
        (torch.ones(2, 3), torch.ones(2, 3), None, {"hard_weight": 1.5}, "between 0 and 1, got 1.5"),
        (torch.ones(2, 3), torch.ones(2, 3), None, {"hard_weight": math.nan}, "between 0 and 1, got nan"),
        (torch.ones(2, 3), torch.ones(2, 3), None, {"hard_weight": 0.5}, "no target with hard_weight 0.5"),
        (torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2).long(), {}, "a target with hard_weight 0.0"),
        (torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2), {"hard_weight": 0.5}, "class labels must be int64"),
    ],
)
def test_bad_input_is_named(student, teacher, target, options, message):
    with pytest.raises(ValueError, match=message):
        distillation(student, teacher, target, **options)
