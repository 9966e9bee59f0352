"""The 256 bytes, from which every token is made: their ids, and the characters that show them."""

from __future__ import annotations

# Bytes that are a visible character in Latin-1: ! to ~, ¡ to ¬, ® to ÿ.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]

# GPT-2 shows a visible byte as itself, and the other 68 (space, control, ...) as U+0100, U+0101, ...: space is Ġ.
# Hugging Face sorts these characters and numbers them, so that visible bytes get the first ids.
BYTES_BY_ID = bytes(_VISIBLE + [byte for byte in range(256) if byte not in _VISIBLE])

_CHARACTERS = {
    byte: chr(byte) if rank < len(_VISIBLE) else chr(0x100 + rank - len(_VISIBLE))
    for rank, byte in enumerate(BYTES_BY_ID)
}
_RANKS = bytes(BYTES_BY_ID.index(byte) for byte in range(256))


def byte_ranks(text: str) -> bytes:
    """Return the place of each UTF-8 byte of ``text`` in the alphabet; an id is this plus the special tokens' number.

    Raises:
        UnicodeEncodeError: If the text holds half of a surrogate pair, which UTF-8 cannot write.

    Example:
        >>> list(byte_ranks("!A é"))
        [0, 32, 220, 127, 102]
    """
    return text.encode("utf-8").translate(_RANKS)


def visible(token: bytes) -> str:
    r"""Show a token's bytes as GPT-2's and Hugging Face's vocabulary files do, one character a byte.

    Example:
        >>> visible(b" the\n")
        'ĠtheĊ'
    """
    return "".join(_CHARACTERS[byte] for byte in token)


def refuse_surrogates(text: str) -> None:
    """Refuse half of a surrogate pair: it is no character, and UTF-8 cannot write it.

    Raises:
        ValueError: If there is one; the message says where.

    Example:
        >>> refuse_surrogates("fine \N{GRINNING FACE}")
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = error.start
        raise ValueError(
            f"expected valid Unicode text, got a lone surrogate U+{ord(text[place]):04X} at character {place} "
            f"({text[max(0, place - 10) : place + 10]!r}). Remove it, or read the source with errors='replace'."
        ) from error
