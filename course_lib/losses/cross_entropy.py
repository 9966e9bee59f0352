"""Cross-entropy of class labels: what a categorical distribution makes of maximum likelihood."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.conventions import Reduction, reduced
from course_lib.losses.labels import check_labels, label_weights
from course_lib.losses.softmax import log_softmax


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """``-log p(target)``: how surprised the model is by the right answer.

    Its gradient by the logits is ``softmax(logits)`` minus the one-hot target: never larger than 1, and large exactly
    where the model is wrong.

    Args:
        logits: Unnormalised log-probabilities, classes last (torch wants them second).
        target: Class labels.
        label_smoothing: Share of the target that is spread evenly over all K classes, the right one included;
            between 0 and 1.
        class_weights: How much each class counts.
        ignore_index: A label that stands for "no target here"; it gives loss 0 and gradient 0.
        reduction: ``"mean"`` divides by the number of targets not ignored, or, with ``class_weights``, by the summed
            weights of their classes, as torch does. ``"sum"`` divides by nothing; ``"none"`` gives 0 where ignored.

    Shape:
        - logits: ``(..., K)``
        - target: ``(...)``, int64 in ``[0, K)`` or ``ignore_index``
        - class_weights: ``(K,)``
        - output: ``()``, or ``(...)`` for ``"none"``

    Returns:
        Nats per target: ``log(K)`` for a model that knows nothing, 0 for a perfect one (with smoothing the entropy
        of the smoothed target). NaN as the mean of no targets.

    Raises:
        ValueError: If shapes or dtypes do not fit, or ``label_smoothing`` is outside [0, 1]. A label out of range is an
            index error on a CPU and a failed assertion on a GPU: values are not read here.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(2, 10), torch.tensor([3, -100]))  # log(10)
        tensor(2.3026)

    Reference: Szegedy et al. 2016, section 7 (label smoothing), https://arxiv.org/abs/1512.00567
    """
    check_labels(logits, target)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}.")
    label, weight = label_weights(
        target, num_classes=logits.shape[-1], class_weights=class_weights, ignore_index=ignore_index
    )
    log_p = log_softmax(logits)
    losses = -log_p.gather(-1, label.unsqueeze(-1)).squeeze(-1) * weight
    if label_smoothing:
        every_class = log_p if class_weights is None else log_p * class_weights
        losses = (1 - label_smoothing) * losses - label_smoothing * every_class.mean(-1)
    losses = losses.masked_fill(target == ignore_index, 0)
    return reduced(losses, reduction, divisor=weight.sum())
