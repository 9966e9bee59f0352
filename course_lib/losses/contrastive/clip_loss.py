"""CLIP's symmetric loss: each image must find its text among all texts, and each text its image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.collectives import gather_rows
from course_lib.losses.contrastive.rows import all_rows, check_temperature, cosines
from course_lib.losses.conventions import widened

# Shape letters used in this file: N = pairs in the batch, M = further wrong texts, D = width.


def clip_loss(
    images: Tensor, texts: Tensor, *, temperature: float | Tensor = 0.07, negatives: Tensor | None = None
) -> Tensor:
    """Mean of `info_nce` from images to texts and from texts to images.

    **Hard negatives** are texts that belong to no image of the batch but nearly fit one ("an S left of an R"); every
    image must tell its own text from them too. No image asks for them, so they play no part in the other direction.

    Two images with the same text count as each other's negatives: let texts repeat seldom within a batch.

    Under a process group images, texts and hard negatives of all ranks are candidates; see `info_nce`.

    Args:
        images: Embeddings. Rows are scaled to length 1 here.
        texts: Embeddings of their texts, in the same order.
        temperature: Softness of both softmaxes; positive. CLIP learns it (`course_lib.nn.TwoTower`), starting from
            0.07; it speaks of the logit scale, which is ``1 / temperature``.
        negatives: Embeddings of further wrong texts, any number of them, the same on every rank.

    Shape:
        - images, texts: ``(N, D)``, floating point, ``N >= 2`` over all ranks
        - negatives: ``(M, D)``
        - output: ``()``

    Returns:
        Nats per question. ``log(N)`` at chance level, with negatives ``(log(N + M) + log(N)) / 2``; for its floor see
        `info_nce`.

    Raises:
        ValueError: If the shapes do not fit, there is only one pair, ranks hold different numbers of rows, or
            ``temperature`` is not positive.

    Example:
        >>> same = torch.ones(4, 2)
        >>> clip_loss(same, same), clip_loss(same, same, negatives=same)  # log(4), (log(8) + log(4)) / 2
        (tensor(1.3863), tensor(1.7329))

    Reference: Radford et al. 2021, Learning transferable visual models from natural language supervision, figure 3,
    https://arxiv.org/abs/2103.00020; hard negatives: Yuksekgonul et al. 2023, When and why vision-language models
    behave like bags-of-words, and what to do about it?, section 4, https://arxiv.org/abs/2210.01936
    """
    check_temperature(temperature)
    if negatives is not None and (negatives.ndim != 2 or negatives.shape[1:] != texts.shape[1:]):
        raise ValueError(
            f"clip_loss needs negatives (M, D) as wide as the texts, got negatives {tuple(negatives.shape)} and texts "
            f"{tuple(texts.shape)}."
        )
    images, texts = all_rows("clip_loss", images=images, texts=texts)
    logits = cosines(images, texts) / temperature
    from_texts = logits.T
    if negatives is not None:
        wrong = gather_rows(widened("negatives", negatives))
        logits = torch.cat([logits, cosines(images, wrong) / temperature], dim=1)  # (N, N + M)
    match = torch.arange(len(images), device=images.device)
    return (F.cross_entropy(logits, match) + F.cross_entropy(from_texts, match)) / 2
