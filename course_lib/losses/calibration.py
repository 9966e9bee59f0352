"""Expected calibration error: how far confidence is from being right that often."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.losses.conventions import widened
from course_lib.losses.labels import check_labels

# Shape letters used in this file: N = predictions, K = classes.


@torch.no_grad()
def expected_calibration_error(probabilities: Tensor, target: Tensor, *, num_bins: int = 15) -> Tensor:
    """Mean gap between confidence and accuracy, over bins of predictions that are about equally confident.

    Of the predictions made with 80 % confidence, 80 % should be right. This is a metric, not a loss: it has no useful
    gradient, and a model that always says how common each class is has 0. Report accuracy beside it.

    Args:
        probabilities: What the model says; rows sum to 1 (pass ``softmax(logits)``, not logits).
        target: Class labels.
        num_bins: How many bins of equal width on (0, 1], each with its right edge. The value depends on it, and with
            few predictions per bin noise alone lifts it: compare only at equal ``num_bins`` and N.

    Shape:
        - probabilities: ``(N, K)``
        - target: ``(N,)``, int64 in ``[0, K)``
        - output: ``()``

    Returns:
        Between 0, perfectly calibrated, and 1, always certain and always wrong.

    Raises:
        ValueError: If shapes or dtypes do not fit, there are no predictions, rows are no probabilities, labels are out
            of range, or ``num_bins`` is below 1. Unlike a loss, it looks at the values (a wait for the device).

    Example:
        >>> probabilities = torch.tensor([[0.75, 0.25]]).expand(4, 2)
        >>> expected_calibration_error(probabilities, torch.tensor([0, 0, 0, 1]))
        tensor(0.)

    Reference: Guo et al. 2017, eq. 3, https://arxiv.org/abs/1706.04599
    """
    if probabilities.ndim != 2 or len(probabilities) == 0:
        raise ValueError(f"probabilities must be (N, K) with N >= 1, got {tuple(probabilities.shape)}.")
    check_labels(probabilities, target)
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins!r}; 10 to 20 is usual.")
    probabilities = widened("probabilities", probabilities)
    off_by = (probabilities.sum(1) - 1).abs().max()
    if not (probabilities.min() >= 0 and off_by <= 0.01):  # bf16 rounds a sum of 1 by up to 1/256
        raise ValueError(
            f"rows of probabilities must be at least 0 and sum to 1, got a smallest entry of {probabilities.min():.4g} "
            f"and sums up to {off_by:.4g} away from 1: pass softmax(logits)."
        )
    num_classes = probabilities.shape[1]
    if target.min() < 0 or target.max() >= num_classes:
        raise ValueError(
            f"labels must be in [0, {num_classes}), got {int(target.min())} to {int(target.max())}: "
            "drop rows without a label first."
        )

    confidence_N, choice_N = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, num_bins + 1, dtype=confidence_N.dtype, device=confidence_N.device)
    bin_N = torch.bucketize(confidence_N, edges[1:-1])
    # In a bin, count * |accuracy - confidence| is just the size of the summed differences.
    gap_N = (choice_N == target).to(confidence_N.dtype) - confidence_N
    gap_per_bin = gap_N.new_zeros(num_bins).index_add(0, bin_N, gap_N)
    return gap_per_bin.abs().sum() / len(gap_N)
