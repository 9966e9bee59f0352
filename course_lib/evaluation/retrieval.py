"""Finding what belongs to a query among many: recall at k."""

from __future__ import annotations

from torch import Tensor

from course_lib.evaluation._inputs import unit_rows

# Shape letters used in this file: N = pairs, D = width.

CHUNK = 1024  # queries compared with the whole gallery at once
TIE = 1e-12  # cosines nearer than this, in float64, differ by rounding alone


def recall_at_k(queries: Tensor, gallery: Tensor, *, k: int = 1) -> float:
    """Return how many queries have their own row of ``gallery`` among the ``k`` rows nearest to them, by cosine.

    Captions as queries and images as gallery is text-to-image retrieval; swap the two for the other direction, which
    gives another number. Rows that are equally near are counted as if their order were drawn at random: with the same
    caption twice in the gallery even a perfect model finds the right one of them half of the time.

    Args:
        queries: Row ``i`` belongs to row ``i`` of the gallery.
        gallery: What is searched.
        k: How many results are looked at.

    Shape:
        - queries, gallery: ``(N, D)``, floating point

    Returns:
        From 0 to 1. ``k / N`` is chance, and what a collapsed encoder gets.

    Raises:
        ValueError: If the shapes differ, a row is not finite, or ``k`` is not from 1 to N.

    Example:
        >>> import torch
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> queries = torch.tensor([[2.0, 0.0], [0.9, 1.0], [3.0, 3.0]])  # the second is nearest to the third
        >>> round(recall_at_k(queries, gallery), 4), recall_at_k(queries, gallery, k=2)
        (0.6667, 1.0)
    """
    if queries.shape != gallery.shape:
        raise ValueError(
            f"recall_at_k needs one row of the gallery for each query, got queries {tuple(queries.shape)} and gallery "
            f"{tuple(gallery.shape)}."
        )
    asked, found = unit_rows("queries", queries), unit_rows("gallery", gallery)
    if not 1 <= k <= len(found):
        raise ValueError(f"k must be from 1 to the number of rows, {len(found)}, got {k}.")
    hits = 0.0
    for start in range(0, len(asked), CHUNK):
        cosines = asked[start : start + CHUNK] @ found.T
        own = cosines.diagonal(offset=start)[:, None]
        num_nearer = (cosines > own + TIE).sum(dim=1)
        num_tied = ((cosines - own).abs() <= TIE).sum(dim=1)  # itself included
        hits += float(((k - num_nearer) / num_tied).clamp(0, 1).sum())
    return hits / len(asked)
