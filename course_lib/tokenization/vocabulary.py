"""From merges to tokens: which bytes each id stands for, and whether the merges make sense."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index

from .byte_alphabet import BYTES_BY_ID, visible
from .merge import Pair


def checked_merges(merges: Iterable[Sequence[int]]) -> tuple[Pair, ...]:
    """Return merges as pairs of Python's whole numbers.

    Raises:
        ValueError: If one of them is no pair of whole numbers.

    Example:
        >>> checked_merges([[65, 66]])
        ((65, 66),)
    """
    checked = []
    for rank, pair in enumerate(merges):
        try:
            first, second = map(index, pair)
        except (TypeError, ValueError) as error:
            raise ValueError(f"merge {rank} must be a pair of ids, got {pair!r}.") from error
        checked.append((first, second))
    return tuple(checked)


def tokens_by_id(
    merges: Sequence[Pair], special_tokens: Sequence[str], added_tokens: Sequence[str] = ()
) -> dict[int, bytes]:
    """Return the bytes of every id: special tokens (their names), bytes, what each merge makes, added special tokens.

    Raises:
        ValueError: If a merge uses an id that is no byte and no earlier merge, makes a token that there is already
            (training never does), or makes the name of a special token.

    Example:
        >>> tokens = tokens_by_id([(1 + 65, 1 + 66)], ["<|end|>"])
        >>> tokens[0], tokens[1], tokens[257]
        (b'<|end|>', b'!', b'bc')
    """
    first_byte = len(special_tokens)
    tokens = dict(enumerate(name.encode("utf-8") for name in special_tokens))
    tokens.update((first_byte + rank, bytes([byte])) for rank, byte in enumerate(BYTES_BY_ID))
    maker: dict[bytes, str] = {bytes([byte]): f"byte {byte}" for byte in BYTES_BY_ID}
    for rank, pair in enumerate(merges):
        for part in pair:
            if not first_byte <= part < len(tokens):
                raise ValueError(
                    f"merge {rank} joins the ids {pair}, but only ids {first_byte} to {len(tokens) - 1} are bytes or "
                    "made by earlier merges."
                )
        token = tokens[pair[0]] + tokens[pair[1]]
        if token in maker:
            raise ValueError(f"merge {rank} makes {token!r}, as {maker[token]} does: each token needs one way.")
        maker[token] = f"merge {rank}"
        tokens[len(tokens)] = token
    shown = {visible(token): token for token in maker}
    for name in (*special_tokens, *added_tokens):
        if name in shown:
            raise ValueError(
                f"special token {name!r} is also an ordinary token, made by {maker[shown[name]]}: choose a name that "
                f"ordinary text does not hold, such as '<|{name}|>'."
            )
    tokens.update(enumerate((name.encode("utf-8") for name in added_tokens), len(tokens)))
    return tokens
