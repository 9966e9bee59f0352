"""Special tokens: markers such as ``<|endoftext|>`` that stand for no text and are never merged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from .byte_alphabet import refuse_surrogates

SpecialMode = Literal["refuse", "token", "text"]


def check_special_tokens(names: Sequence[str], added: Sequence[str] = ()) -> None:
    """Refuse names, and names of tokens added to them, that cannot be special tokens.

    Raises:
        ValueError: If a name is no text, is empty, is a single byte, or comes twice.

    Example:
        >>> check_special_tokens(["<|user|>", "<|user|>"])
        Traceback (most recent call last):
        ValueError: special token '<|user|>' is given twice.
    """
    for kind, given in (("special_tokens", names), ("added_tokens", added)):
        if isinstance(given, str):
            raise ValueError(f"{kind} must be a sequence of names, got one string: write [{given!r}].")
    names = (*names, *added)
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise ValueError(f"a special token must be a text of one character or more, got {name!r}.")
        refuse_surrogates(name)
        if name in names[:place]:
            raise ValueError(f"special token {name!r} is given twice.")


def check_special_mode(special: str) -> None:
    """Refuse any but the three ways to treat a special token's text."""
    if special not in ("refuse", "token", "text"):
        raise ValueError(f"special must be 'refuse', 'token' or 'text', got {special!r}.")


def special_finder(names: Sequence[str]) -> re.Pattern[str] | None:
    """Compile what finds special tokens in text: the leftmost, and of those the longest. None if there are none."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if names else None


def split_at_special(text: str, finder: re.Pattern[str], ids: Mapping[str, int]) -> Iterator[str | int]:
    """Yield stretches of ordinary text, and ids of the special tokens between them.

    Example:
        >>> list(split_at_special("a<|b|>c", special_finder(["<|b|>"]), {"<|b|>": 0}))
        ['a', 0, 'c']
    """
    end = 0
    for match in finder.finditer(text):
        yield text[end : match.start()]
        yield ids[match.group()]
        end = match.end()
    yield text[end:]
