"""Objectives ready to hand to a ``Run`` that compare rows: two views of images, and images with their captions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.losses.contrastive import clip_loss, simsiam

Views = Callable[[Tensor], tuple[Tensor, Tensor]]

# Shape letters used in this file: N = samples, M = further wrong captions, L = words, D = width.


def contrastive_objective(loss: Callable[[Tensor, Tensor], Tensor], *, views: Views | None = None) -> Objective:
    """Return an objective that compares what the model makes of two views of each sample.

    The views go through the model one after the other, so that batch norm sees one view at a time.

    Args:
        loss: Of two ``(N, D)``, a mean: `nt_xent`, `info_nce`, `barlow_twins`, `vicreg`, or
            ``partial(nt_xent, temperature=0.2)``.
        views: Makes two views of a batch of images. A generator that it draws from belongs into the Run's
            ``generators`` too, so that it is saved with the run. None: the batch brings both views.

    Shape:
        - batch: ``(images, ...)``, or ``(first, second, ...)`` without ``views``; what else is in it (labels) is not
          looked at
        - the model's output: ``(N, D)``

    Returns:
        An objective whose `Loss` has ``count=None``: its rows depend on each other, so it cannot be cut into
        micro-batches. Over ranks the losses gather their rows, and the update is that of one process with all of them,
        if the model treats each row by itself (batch norm does not).

    Example:
        >>> from course_lib.losses import info_nce
        >>> objective = contrastive_objective(info_nce)
        >>> objective(nn.Identity(), (torch.ones(4, 2), torch.ones(4, 2))).total  # log(4)
        tensor(1.3863)
    """

    def objective(model: nn.Module, batch: Batch) -> Loss:
        first, second = _two_views(batch, views)
        return Loss(loss(model(first), model(second)), None)

    return objective


def simsiam_objective(*, views: Views | None = None, stop_gradient: bool = True) -> Objective:
    """Return SimSiam's objective: what is predicted from one view against the projection of the other.

    Args:
        views: As for `contrastive_objective`.
        stop_gradient: False lets gradients flow through the projections too, and the model collapse.

    Shape:
        - batch: as for `contrastive_objective`
        - the model's output: projections ``(N, D)`` and predictions ``(N, D)``, as `course_lib.nn.Siamese` gives them

    Returns:
        An objective that sums over samples; per sample -1 at best, and -1 when collapsed.

    Example:
        >>> def model(images):
        ...     return images, images
        >>> loss = simsiam_objective()(model, (torch.eye(2), torch.eye(2)))
        >>> loss.total, loss.count
        (tensor(-2.), 2)
    """

    def objective(model: nn.Module, batch: Batch) -> Loss:
        first, second = _two_views(batch, views)
        first_projection, first_prediction = model(first)
        second_projection, second_prediction = model(second)
        total = simsiam(
            (first_prediction, second_prediction),
            (first_projection, second_projection),
            stop_gradient=stop_gradient,
            reduction="sum",
        )
        return Loss(total, len(first_prediction))

    return objective


def clip_objective(model: nn.Module, batch: Batch) -> Loss:
    """CLIP's symmetric loss of a batch of images and their captions, with hard negatives where the batch brings some.

    Args:
        model: A `course_lib.nn.TwoTower`, or any model that maps images and captions to two embeddings and a
            temperature.
        batch: ``(images, captions)`` or ``(images, captions, wrong_captions)``.

    Shape:
        - captions: ``(N, L)``, int64 word ids padded with 0
        - wrong_captions: ``(M, L')``, int64; each is wrong for all images of the batch

    Returns:
        The mean loss in nats, ``log(N)`` at chance level (see `clip_loss`), with ``count=None``. Metric
        ``temperature``.

    Raises:
        ValueError: If images and captions do not fit together, or what follows the images is no matrix of word ids.

    Example:
        >>> from course_lib.nn import CaptionEncoder, ConvEncoder, TwoTower
        >>> model = TwoTower(ConvEncoder(embedding_width=16), CaptionEncoder(9, embedding_width=16))
        >>> loss = clip_objective(model, (torch.rand(2, 1, 8, 8), torch.tensor([[1, 2], [2, 1]])))
        >>> round(loss.metrics["temperature"].item(), 2), loss.count
        (0.07, None)
    """
    images, captions, *wrong = batch
    if any(not isinstance(part, Tensor) or part.ndim != 2 for part in (captions, *wrong)):
        raise ValueError(
            "a batch must be (images, captions) or (images, captions, wrong_captions), captions as word ids (N, L), "
            f"got {_described(batch)}: turn words into numbers first, and leave labels out."
        )
    if len(images) != len(captions):
        raise ValueError(f"each image needs one caption, got {len(images)} images and {len(captions)} captions.")
    image_embeddings, caption_embeddings, temperature = model(images, _stacked([captions, *wrong]))
    matched, negatives = caption_embeddings[: len(captions)], caption_embeddings[len(captions) :]
    loss = clip_loss(image_embeddings, matched, temperature=temperature, negatives=negatives if wrong else None)
    return Loss(loss, None, {"temperature": temperature.detach()})


def _two_views(batch: Batch, views: Views | None) -> tuple[Tensor, Tensor]:
    if views is not None:
        return views(batch if isinstance(batch, Tensor) else batch[0])
    pair: Batch = () if isinstance(batch, Tensor) else batch[:2]
    if len(pair) < 2 or not all(isinstance(part, Tensor) for part in pair) or pair[0].shape != pair[1].shape:
        raise ValueError(
            f"this objective needs a batch (first view, second view, ...), two of one shape, got {_described(batch)}: "
            "give it views=, a function that makes two views of a batch of images."
        )
    return pair[0], pair[1]


def _described(batch: Batch) -> str:
    """The shapes in a batch, for a message; of what is no tensor, its type."""
    if isinstance(batch, Tensor):
        return str(tuple(batch.shape))
    parts = [str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in batch]
    return f"[{', '.join(parts)}]"


def _stacked(captions: list[Tensor]) -> Tensor:
    """All captions under each other, padded with 0 to one length."""
    length = max(rows.shape[1] for rows in captions)
    return torch.cat([F.pad(rows, (0, length - rows.shape[1])) for rows in captions])
