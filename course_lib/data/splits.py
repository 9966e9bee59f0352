"""Cut a data set into parts that share no row: train, validation, test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from .examples import Examples


def split(
    examples: Examples,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    *,
    seed: int,
    stratify: bool | None = None,
) -> tuple[Examples, ...]:
    """Cut ``examples`` into disjoint, shuffled parts that together are the whole.

    Stratified means that each class is cut by the same fractions, so that no part is short of a class by bad
    luck. Rows are dealt one by one: if several rows come from one person or one document, they may land on both
    sides, and such data must be split by person instead.

    Args:
        examples: What to cut.
        fractions: Share of each part, in the order returned; each positive, summing to 1.
        seed: Decides who goes where: the same seed gives the same parts.
        stratify: Cut class by class. ``None`` means yes when there are classes.

    Returns:
        One ``Examples`` a fraction. Each class's count in each part is less than one row off its exact share, and
        the rounding of many small classes does not add up (not stratified: the same for the parts' sizes).

    Raises:
        ValueError: If the fractions are not positive or do not sum to 1, a part would be empty, or there are no
            classes to stratify by.

    Example:
        >>> from course_lib.data import table
        >>> [len(part) for part in split(table("iris"), (0.8, 0.1, 0.1), seed=0)]
        [120, 15, 15]
    """
    if not fractions or not all(math.isfinite(f) and f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions must be positive and sum to 1, got {tuple(fractions)} with sum {sum(fractions):.6g}."
        )
    if stratify and not examples.classes:
        raise ValueError(f"{examples.name!r} has no classes to stratify by: leave stratify out, or set it to False.")
    if stratify is None:
        stratify = bool(examples.classes)

    order = np.random.default_rng(seed).permutation(len(examples))
    label = examples.y.cpu().numpy()[order] if stratify else np.zeros(len(order), dtype=np.int64)
    part = np.empty(len(order), dtype=np.int64)
    for positions, sizes in _deal(label, np.asarray(fractions)):
        part[positions] = np.repeat(np.arange(len(fractions)), sizes)

    empty = sorted(set(range(len(fractions))) - set(part.tolist()))
    if empty:
        raise ValueError(
            f"part {empty[0]} of fractions {tuple(fractions)} would be empty: {examples.name!r} has only "
            f"{len(examples)} rows. Take fewer parts or a larger fraction."
        )
    return tuple(examples.take(torch.from_numpy(order[part == index])) for index in range(len(fractions)))


def _deal(
    label: npt.NDArray[np.int64], fractions: npt.NDArray[np.float64]
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return, for each class, the positions of its rows and how many of them each part gets.

    Each part gets its share rounded down; rows left over go, one each, to the parts furthest behind on their share
    of all classes so far.
    """
    dealt = []
    behind = np.zeros(len(fractions))
    for value in np.unique(label):
        positions = np.flatnonzero(label == value)
        exact = fractions / fractions.sum() * len(positions)
        sizes = np.floor(exact + 1e-9).astype(np.int64)
        behind += exact - sizes
        open_to_more = np.where(exact - sizes > 1e-9, behind, -np.inf)  # an exact share stays exact
        winners = np.argsort(-open_to_more, kind="stable")[: len(positions) - sizes.sum()]
        sizes[winners] += 1
        behind[winners] -= 1
        dealt.append((positions, sizes))
    return dealt
