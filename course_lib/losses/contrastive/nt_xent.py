"""NT-Xent, SimCLR's loss: each of the 2N views must find its partner among all the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.losses.contrastive.rows import all_rows, check_temperature, cosines

# Shape letters used in this file: N = samples in the batch, V = 2N views, D = width.


def nt_xent(first: Tensor, second: Tensor, *, temperature: float | Tensor = 0.5) -> Tensor:
    """Normalised, temperature-scaled cross-entropy of "which of the other 2N - 1 views shows my sample?".

    What `info_nce` is with both views asking, and with rows of one's own view among the negatives too. A view is never
    its own candidate.

    Under a process group the views of all ranks are candidates; see `info_nce`.

    Args:
        first: One view of each sample. Rows are scaled to length 1 here.
        second: Another view of each, in the same order.
        temperature: Softness of the softmax; positive. A tensor may be learnt.

    Shape:
        - first, second: ``(N, D)``, floating point, ``N >= 2`` over all ranks
        - output: ``()``

    Returns:
        Nats per view, averaged over all 2N. ``log(2N - 1)`` at chance level and when all embeddings are equal; never
        below ``log(1 + 2 * (N - 1) * exp(-N / ((N - 1) * temperature)))``.

    Raises:
        ValueError: If the shapes differ, there is only one row, ranks hold different numbers of rows, or
            ``temperature`` is not positive.

    Example:
        >>> nt_xent(torch.ones(4, 2), torch.ones(4, 2))  # log(7)
        tensor(1.9459)

    Reference: Chen, Kornblith, Norouzi and Hinton 2020, A simple framework for contrastive learning of visual
    representations, eq. 1 and algorithm 1, https://arxiv.org/abs/2002.05709
    """
    check_temperature(temperature)
    first, second = all_rows("nt_xent", first=first, second=second)
    num_samples = len(first)
    views = torch.cat([first, second])
    itself = torch.eye(2 * num_samples, dtype=torch.bool, device=views.device)
    logits_VV = (cosines(views, views) / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(2 * num_samples, device=views.device).roll(num_samples)  # of view i: i + N, or i - N
    return F.cross_entropy(logits_VV, partner)
