"""SimSiam: agreement of two views without any negatives; a stop-gradient keeps it from collapsing."""

from __future__ import annotations

from torch import Tensor

from course_lib.losses.contrastive.rows import check_rows, unit_rows
from course_lib.losses.conventions import Reduction, reduced, widened


def simsiam(
    predictions: tuple[Tensor, Tensor],
    projections: tuple[Tensor, Tensor],
    *,
    stop_gradient: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """Minus the cosine of each view's prediction with the other view's projection, averaged over the two directions.

    A predictor must guess from one view where the other was projected to; the projection is taken as it stands (no
    gradient flows through it). Nothing pushes different samples apart. With ``stop_gradient=False`` all embeddings soon
    become equal: a perfect loss, and a useless encoder.

    Rows do not depend on each other (batch norm in the model aside), so nothing is gathered: sums over ranks are exact.

    Args:
        predictions: Of the first view and of the second.
        projections: Of the first view and of the second, in the same order.
        stop_gradient: False to let gradients flow through the projections too.
        reduction: ``"mean"`` over rows, ``"sum"`` or ``"none"``.

    Shape:
        - predictions, projections: two of ``(N, D)`` each, floating point, one shape
        - output: ``()``, or ``(N,)`` for ``"none"``

    Returns:
        -1 when the predictions point where the projections do, **collapsed ones included**, so watch their spread
        besides; about 0 for unrelated directions.

    Raises:
        ValueError: If they are not four matrices of one shape, one is not floating point, or ``reduction`` is none of
            the three.

    Example:
        >>> import torch
        >>> ahead, aside = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> simsiam((ahead, aside), (aside, ahead)), simsiam((ahead, ahead), (ahead, aside))
        (tensor(-1.), tensor(-0.5000))

    Reference: Chen and He 2021, Exploring simple Siamese representation learning, eq. 2 and 4 and algorithm 1,
    https://arxiv.org/abs/2011.10566
    """
    named = {
        "first prediction": predictions[0],
        "second prediction": predictions[1],
        "first projection": projections[0],
        "second projection": projections[1],
    }
    check_rows("simsiam", **named)
    first, second, *targets = (unit_rows(widened(name, rows)) for name, rows in named.items())
    if stop_gradient:
        targets = [target.detach() for target in targets]
    agreement = (first * targets[1]).sum(-1) + (second * targets[0]).sum(-1)
    return reduced(-agreement / 2, reduction)
