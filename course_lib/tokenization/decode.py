"""From ids back to bytes and text, all at once or as the ids come."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Literal

Errors = Literal["replace", "strict", "ignore"]


def join_bytes(ids: Iterable[int], tokens: Mapping[int, bytes], *, skip: Collection[int] = ()) -> bytes:
    """Return the bytes of ``ids``, one after the other.

    Args:
        ids: A list, a tensor or an array of one dimension.
        tokens: The bytes of each id.
        skip: Ids to leave out.

    Raises:
        ValueError: If there is no such id.

    Example:
        >>> join_bytes([0, 1, 0], {0: b"a", 1: b"bc"})
        b'abca'
    """
    numbers = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    if not isinstance(numbers, list):
        raise ValueError(f"expected a sequence of ids, got the single number {numbers}: write [{numbers}].")
    try:
        if skip:
            numbers = [number for number in numbers if number not in skip]
        return b"".join(map(tokens.__getitem__, numbers))
    except (KeyError, TypeError):
        raise _unknown_id(numbers, tokens) from None


def stream_text(
    ids: Iterable[int], tokens: Mapping[int, bytes], *, errors: Errors = "replace", skip: Collection[int] = ()
) -> Iterator[str]:
    r"""Yield the text that each id completes, and at the end what is left over.

    Example:
        >>> list(stream_text([0, 1], {0: b"n\xc3", 1: b"\xa9"}))
        ['n', 'é', '']
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    for number in ids:
        yield decoder.decode(join_bytes([index(number)], tokens, skip=skip))
    yield decoder.decode(b"", final=True)


def check_errors(errors: str) -> None:
    """Refuse any but the three ways to treat bytes that are no valid UTF-8."""
    if errors not in ("replace", "strict", "ignore"):
        raise ValueError(f"errors must be 'replace', 'strict' or 'ignore', got {errors!r}.")


def _unknown_id(numbers: Sequence[int], tokens: Mapping[int, bytes]) -> ValueError:
    place = next(k for k, number in enumerate(numbers) if not isinstance(number, Hashable) or number not in tokens)
    return ValueError(
        f"there is no token {numbers[place]!r} (at place {place}): ids are whole numbers from 0 to {len(tokens) - 1}."
    )
