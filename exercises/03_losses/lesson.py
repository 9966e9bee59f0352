"""Exercise 03.3: distillation, mixed with the labels' own cross-entropy."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from course_lib.study.exercises import Case, Exercise, Property


def lesson(student, teacher, labels, tau, hard):
    """Return the mean of the softened divergence from the teacher and the labels' cross-entropy, mixed by ``hard``."""
    log_q = (teacher.detach() / tau).log_softmax(-1)
    log_p = (student / tau).log_softmax(-1)
    soft = tau**2 * (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _log_p(row):
    largest = max(row)
    total = math.log(math.fsum(math.exp(z - largest) for z in row)) + largest
    return [z - total for z in row]


def _oracle(student, teacher, labels, tau, hard):
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        q, p = (_log_p([z / tau for z in row]) for row in (t, s))
        soft = tau**2 * math.fsum(math.exp(a) * (a - b) for a, b in zip(q, p, strict=True))
        total += (1 - hard) * soft - hard * _log_p(s)[label]
    return torch.tensor(total / len(labels), dtype=torch.float64)


def _draw(rng):
    rows, classes = int(rng.integers(1, 5)), int(rng.integers(2, 6))
    dtype = (torch.float32, torch.float64)[rng.integers(2)]
    size = float(rng.choice([1.0, 3.0, 100.0]))
    student, teacher = (torch.tensor(rng.standard_normal((rows, classes)) * size, dtype=dtype) for _ in range(2))
    labels = torch.tensor(rng.integers(0, classes, rows))
    return student, teacher, labels, float(rng.choice([0.5, 2.0, 4.0])), float(rng.choice([0.0, 0.3, 1.0]))


def _leaf(tensor):
    """A copy that wants a gradient, and that stays itself when the function is given a copy of its arguments."""
    leaf = tensor.clone().requires_grad_()
    leaf.__deepcopy__ = lambda memo: leaf
    return leaf


def _gradient_complaint(function, case, result):
    student, teacher, labels, tau, hard = case.args
    leaf, fixed = _leaf(student), _leaf(teacher)
    loss = function(leaf, fixed, labels, tau, hard)
    if not isinstance(loss, torch.Tensor) or loss.grad_fn is None:
        return "no gradient reaches the student: the result is cut off from it"
    found, to_teacher = torch.autograd.grad(loss, (leaf, fixed.requires_grad_()), allow_unused=True)
    if to_teacher is not None:
        return "the teacher's logits are in the graph of the result, so a gradient reaches them"
    z, taught = student.double(), teacher.double()
    soft = tau * ((z / tau).softmax(-1) - (taught / tau).softmax(-1))
    wanted = (1 - hard) * soft + hard * (z.softmax(-1) - F.one_hot(labels, z.shape[-1]))
    if found is None or not torch.allclose(found.double(), wanted / len(labels), rtol=1e-3, atol=1e-4):
        return "the value is right, but the gradient that reaches the student is not that of the value"
    return None


def _explain(case, expected, got):
    student, teacher, _, tau, hard = case.args
    if not torch.isfinite(torch.as_tensor(got)).all():
        return f"logits go up to {max(student.abs().max().item(), teacher.abs().max().item()):.3g}; the result is {got}"
    return f"here tau is {tau:g} and hard is {hard:g}: which of the two parts is off?"


def _parts(student, teacher, tau):
    return (teacher.detach() / tau).log_softmax(-1), (student / tau).log_softmax(-1)


def _no_square(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student, teacher, tau)
    soft = (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _other_direction(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student, teacher, tau)
    soft = tau**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _mean_over_classes(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student, teacher, tau)
    soft = tau**2 * F.kl_div(log_p, log_q, log_target=True, reduction="mean")
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _hard_part_softened(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student, teacher, tau)
    soft = tau**2 * (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student / tau, labels)


def _shares_swapped(student, teacher, labels, tau, hard):
    return lesson(student, teacher, labels, tau, 1 - hard)


def _teacher_attached(student, teacher, labels, tau, hard):
    log_q, log_p = (teacher / tau).log_softmax(-1), (student / tau).log_softmax(-1)
    soft = tau**2 * (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _only_the_hard_part_learns(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student.detach(), teacher, tau)
    soft = tau**2 * (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _only_the_soft_part_learns(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student, teacher, tau)
    soft = tau**2 * (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student.detach(), labels)


def _logarithm_of_softmax(student, teacher, labels, tau, hard):
    q, p = (teacher.detach() / tau).softmax(-1), (student / tau).softmax(-1)
    soft = tau**2 * (q * (q / p).log()).sum(-1).mean()
    return (1 - hard) * soft + hard * F.cross_entropy(student, labels)


def _cross_entropy_for_kl(student, teacher, labels, tau, hard):
    log_q, log_p = _parts(student, teacher, tau)
    return (1 - hard) * tau**2 * -(log_q.exp() * log_p).sum(-1).mean() + hard * F.cross_entropy(student, labels)


EXERCISES = (
    Exercise(
        id="03.3",
        title="Soft and hard lessons",
        difficulty=3,
        minutes=15,
        solution=lesson,
        cases=_draw,
        oracle=_oracle,
        properties=(Property("sends its gradient to the student, and to it alone", _gradient_complaint),),
        edge_cases=(
            Case(
                (torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2]), 4.0, 0.0),
                note="the student agrees with its teacher",
            ),
            Case(
                (torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.0, 1000.0]]), torch.tensor([1]), 2.0, 0.5),
                note="both are sure, of different classes",
            ),
        ),
        explain=_explain,
        hints=(
            "Everything can be had from `log_softmax`: `log_q` of `teacher / tau`, `log_p` of `student / tau`.",
            "$\\mathrm{KL}(q \\Vert p) = \\sum_k q_k (\\log q_k - \\log p_k)$: a sum over classes, a mean over rows.",
            "Multiply the soft part by `tau**2`. The hard part is `F.cross_entropy(student, labels)`, no `tau` in it.",
            "`teacher.detach()` keeps gradients out of the teacher.",
        ),
        wrong={
            "leaves out the square of tau": _no_square,
            "takes the divergence the other way round": _other_direction,
            "averages over classes too": _mean_over_classes,
            "softens the hard part": _hard_part_softened,
            "swaps the shares": _shares_swapped,
            "lets gradients into the teacher": _teacher_attached,
            "detaches the student in the soft part": _only_the_hard_part_learns,
            "detaches the student in the hard part": _only_the_soft_part_learns,
            "takes the logarithm of a softmax": _logarithm_of_softmax,
            "forgets the teacher's entropy": _cross_entropy_for_kl,
        },
    ),
)
