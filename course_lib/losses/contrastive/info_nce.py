"""InfoNCE: pull matched rows together, push every other row apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.losses.contrastive.rows import all_rows, check_temperature, cosines

# Shape letters used in this file: N = pairs in the batch, D = width.


def info_nce(queries: Tensor, keys: Tensor, *, temperature: float | Tensor = 0.1) -> Tensor:
    """Cross-entropy of "which key belongs to my query?", averaged over the batch.

    Row ``i`` of ``queries`` and row ``i`` of ``keys`` are a **positive pair**, two views of one sample; every other key
    makes a **negative pair** with the query. Rows are scaled to length 1 here, so the logits are cosines divided by
    ``temperature``: the lower it is, the more the nearest negatives count.

    Under a process group the keys of all ranks are candidates, and every rank returns the loss of the whole batch;
    gradients averaged over ranks, as `course_lib.loops.Run` does, are those of one process with all rows.

    Args:
        queries: First view.
        keys: Second view.
        temperature: Softness of the softmax; positive. A tensor may be learnt.

    Shape:
        - queries, keys: ``(N, D)``, floating point, ``N >= 2`` over all ranks
        - output: ``()``

    Returns:
        Nats per query. ``log(N)`` at chance level and when all embeddings are equal; never below
        ``log(1 + (N - 1) * exp(-N / ((N - 1) * temperature)))``, which is far from 0 when the temperature is high (3.56
        for N = 256 and temperature 0.5).

    Raises:
        ValueError: If the shapes differ, there is only one row, ranks hold different numbers of rows, or
            ``temperature`` is not positive.

    Example:
        >>> x = torch.eye(4)
        >>> info_nce(x, x), info_nce(x, x.roll(1, dims=0))  # each finds its own; each is sure of a wrong one
        (tensor(0.0001), tensor(10.0001))
        >>> info_nce(torch.ones(4, 2), torch.ones(4, 2))  # log(4)
        tensor(1.3863)

    Reference: van den Oord, Li and Vinyals 2018, Representation learning with contrastive predictive coding, eq. 4,
    https://arxiv.org/abs/1807.03748
    """
    check_temperature(temperature)
    queries, keys = all_rows("info_nce", queries=queries, keys=keys)
    logits_NN = cosines(queries, keys) / temperature  # row i scores query i against every key
    return F.cross_entropy(logits_NN, torch.arange(len(queries), device=queries.device))
