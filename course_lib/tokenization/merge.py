"""Apply merges to one piece: the earliest-learnt pair first, and of its places the leftmost first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]


def merge_piece(ids: Sequence[int], made_by: Mapping[Pair, int]) -> tuple[int, ...]:
    """Merge the ids of one piece until no two neighbours are a known pair.

    Merges are learnt in an order and must be replayed in it: a pair learnt early goes before one learnt late, even
    where the late one would make a longer token. Ids are given out in that order too, so the earliest pair is the one
    that makes the smallest new id. A heap has the next one ready, so that ``n`` ids take ``n log n`` steps, also where
    a piece is a million characters long.

    Args:
        ids: The ids of the piece's bytes.
        made_by: The new id that each pair makes; larger than both ids of the pair.

    Returns:
        The ids after all merges.

    Example:
        >>> merge_piece([1, 2, 1, 2, 3], {(1, 2): 4, (4, 3): 5})
        (4, 5)
    """
    token = [*ids, -1]  # the end of the piece, which is in no pair
    right, left = list(range(1, len(ids) + 1)), list(range(-1, len(ids)))
    known = made_by.get
    heap = [(made, place) for place, pair in enumerate(pairwise(ids)) if (made := known(pair)) is not None]
    heapq.heapify(heap)
    while heap:
        made, place = heapq.heappop(heap)
        gone = right[place]
        if known((token[place], token[gone])) != made:
            continue  # one of the two has become another token, or part of one, in the meantime
        after = right[place] = right[gone]
        left[after] = place
        token[place], token[gone] = made, -1
        for first, second in ((left[place], place), (place, after)):
            if first >= 0 and (candidate := known((token[first], token[second]))) is not None:
                heapq.heappush(heap, (candidate, first))
    return tuple([number for number in token if number >= 0])
