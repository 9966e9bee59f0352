"""What a tokenizer costs: bytes a token, tokens a word, and bits per byte, which compares models across tokenizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized

Encode = Callable[[str], Sized]


def bits_per_byte(nats_per_token: float, *, num_tokens: int, num_bytes: int) -> float:
    """Turn a loss per token into bits per byte of text.

    Losses per token of two tokenizers cannot be compared: the one with longer tokens has fewer, harder guesses. The
    whole text's surprise can be, so divide it by what does not depend on the tokenizer: the text's UTF-8 bytes.

    Args:
        nats_per_token: Mean cross-entropy over the text's tokens, natural logarithm.
        num_tokens: Over how many targets the mean was taken.
        num_bytes: How many bytes of UTF-8 those targets stand for.

    Returns:
        Bits a byte: 8 for guessing bytes blindly, 1 or less for a good model of English, 0 for a perfect one.

    Raises:
        ValueError: If a count is below 1, or the loss is negative or not finite.

    Example:
        >>> round(bits_per_byte(math.log(256), num_tokens=10, num_bytes=10), 6)
        8.0
    """
    if not (math.isfinite(nats_per_token) and nats_per_token >= 0):
        raise ValueError(f"nats_per_token must be finite and 0 or more, got {nats_per_token}.")
    if num_tokens < 1 or num_bytes < 1:
        raise ValueError(f"expected at least 1 token and 1 byte, got {num_tokens} tokens and {num_bytes} bytes.")
    return nats_per_token * num_tokens / (math.log(2) * num_bytes)


def bytes_per_token(encode: Encode, texts: Iterable[str]) -> float:
    """Return how many UTF-8 bytes a token stands for on average, the compression ratio of a byte-level tokenizer.

    Args:
        encode: Turns a text into ids: ``tokenizer.encode`` of this or another library.
        texts: Texts to measure on, better not those it was trained on.

    Returns:
        1 for bare bytes, about 4 for English with a vocabulary of tens of thousands. Higher is fewer tokens to pay for.

    Raises:
        ValueError: If the texts have no token.

    Example:
        >>> bytes_per_token(str.split, ["two words"])
        4.5
    """
    num_bytes, num_tokens = 0, 0
    for text in texts:
        num_bytes += len(text.encode("utf-8"))
        num_tokens += len(encode(text))
    if num_tokens == 0:
        raise ValueError("there are no tokens to measure: the texts are empty.")
    return num_bytes / num_tokens


def fertility(encode: Encode, texts: Iterable[str]) -> float:
    """Return how many tokens a word is cut into on average, where words are what blanks separate.

    It says nothing for scripts that write no blanks between words, such as Chinese and Thai.

    Args:
        encode: Turns a text into ids.
        texts: Texts to measure on.

    Returns:
        About 1 when nearly every word is a token, above 2 for text the tokenizer was not made for. Lower is cheaper.

    Raises:
        ValueError: If the texts have no word.

    Example:
        >>> fertility(list, ["two words"])
        4.5

    Reference: Rust, Pfeiffer, Vulic, Ruder and Gurevych 2021, How Good is Your Tokenizer?,
    https://arxiv.org/abs/2012.15613
    """
    num_tokens, num_words = 0, 0
    for text in texts:
        num_tokens += len(encode(text))
        num_words += len(text.split())
    if num_words == 0:
        raise ValueError("there are no words to measure: the texts are empty or blank.")
    return num_tokens / num_words
