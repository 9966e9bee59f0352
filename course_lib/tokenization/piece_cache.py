"""Remember the ids of pieces that were seen before: text repeats its words."""

from __future__ import annotations

from collections.abc import Mapping

from .byte_alphabet import byte_ranks
from .merge import Pair, merge_piece

MAX_PIECES = 1 << 16
MAX_CHARACTERS = 32  # of a piece that is kept


class PieceCache(dict[str, tuple[int, ...]]):
    """Ids by piece: looked up if known, otherwise merged and kept.

    A dictionary with ``__missing__``, so that a known piece costs one look-up and no call of a Python function. Both
    the number of pieces and their length are bounded (100 MB at the very worst, a few as a rule); when it is full it
    starts afresh, which costs nothing to decide and soon has the common words again.

    Args:
        made_by: The new id that each pair makes.
        first_byte_id: The id of the first byte of the alphabet: the number of special tokens.

    Example:
        >>> PieceCache({(65, 66): 256}, first_byte_id=0)["bcb"]
        (256, 65)
    """

    def __init__(self, made_by: Mapping[Pair, int], *, first_byte_id: int) -> None:
        super().__init__()
        self._made_by = made_by
        self._byte_ids = list(range(first_byte_id, first_byte_id + 256))  # so that all pieces share these objects

    def __missing__(self, piece: str) -> tuple[int, ...]:
        merged = merge_piece([self._byte_ids[rank] for rank in byte_ranks(piece)], self._made_by)
        if len(piece) <= MAX_CHARACTERS:
            if len(self) >= MAX_PIECES:
                self.clear()
            self[piece] = merged
        return merged
