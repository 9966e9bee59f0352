"""Distillation: learn from another model's probabilities, not only from the label."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened
from course_lib.losses.cross_entropy import cross_entropy
from course_lib.losses.kl_divergence import kl_divergence


def distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor | None = None,
    *,
    temperature: float = 2.0,
    hard_weight: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """``temperature**2 * KL(teacher || student)`` of the softened distributions, mixed with the labels' cross-entropy.

    The teacher's small probabilities say which wrong answers are nearly right; a temperature above 1 makes them heard.
    Softening shrinks the gradient by ``temperature**2``, so the factor keeps both parts in proportion.

    Args:
        student_logits: The learner's logits, classes last.
        teacher_logits: The teacher's; no gradient flows into them.
        target: Class labels for the hard part; -100 where there is none and only the teacher speaks.
        temperature: What both models' logits are divided by in the soft part; positive and finite.
        hard_weight: Share of the labels' cross-entropy (at temperature 1) in the loss, between 0 and 1; the teacher
            gets the rest. Above 0 exactly if ``target`` is given.
        reduction: ``"mean"`` over rows (those without a label included), ``"sum"`` or ``"none"``.

    Shape:
        - student_logits, teacher_logits: ``(..., K)``, one shape
        - target: ``(...)``, int64 in ``[0, K)`` or -100
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        ``(1 - hard_weight) * soft + hard_weight * hard``. The soft part is 0 for a student that agrees with
        its teacher.

    Raises:
        ValueError: If shapes or dtypes do not fit, ``temperature`` is not positive and finite, or ``hard_weight`` is
            outside [0, 1] or does not go with ``target``.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0, -1.0]])
        >>> distillation(logits, logits, temperature=4.0)
        tensor(0.)

    Reference: Hinton, Vinyals and Dean 2015, section 2, https://arxiv.org/abs/1503.02531
    """
    check_positive("temperature", temperature)
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    if not 0 <= hard_weight <= 1:
        raise ValueError(f"hard_weight must be between 0 and 1, got {hard_weight!r}.")
    if (target is None) != (hard_weight == 0):
        given = "no target" if target is None else "a target"
        raise ValueError(
            f"got {given} with hard_weight {hard_weight!r}: labels are used exactly if hard_weight is above 0."
        )
    teacher = widened("teacher_logits", teacher_logits).detach()
    student = widened("student_logits", student_logits)
    losses = temperature**2 * kl_divergence(teacher / temperature, student / temperature, reduction="none")
    if target is not None:
        losses = (1 - hard_weight) * losses + hard_weight * cross_entropy(student, target, reduction="none")
    return reduced(losses, reduction)
