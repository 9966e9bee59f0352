"""The same tokenizer in other libraries: Hugging Face's ``tokenizers``, and ``tiktoken``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .byte_alphabet import visible
from .merge import merge_piece
from .pretokens import NAMED, expression

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

    from .tokenizer import BPETokenizer


def to_huggingface(tokenizer: BPETokenizer) -> tokenizers.Tokenizer:
    """Return the same tokenizer for Hugging Face's ``tokenizers``.

    Ids are equal; a special token's name in a text always becomes the special token there (``special="token"`` here).
    Its ``save`` writes the ``tokenizer.json`` that ``transformers.PreTrainedTokenizerFast`` reads. Needs
    ``tokenizers`` (extra ``learn``).

    Example:
        >>> from course_lib.tokenization import BPETokenizer
        >>> to_huggingface(BPETokenizer([(71, 72)])).encode("high").ids
        [256, 70, 71]
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    names = {number: name for name, number in tokenizer.special.items()}
    shown = [names.get(number) or visible(tokenizer.token_bytes(number)) for number in range(tokenizer.vocab_size)]
    vocabulary = {text: number for number, text in enumerate(shown)}
    result = Tokenizer(models.BPE(vocabulary, [(shown[first], shown[second]) for first, second in tokenizer.merges]))
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=tokenizer.pattern == "gpt2")]
    if tokenizer.pattern not in (None, "gpt2"):
        steps.insert(0, pre_tokenizers.Split(Regex(expression(tokenizer.pattern)), behavior="isolated"))
    result.pre_tokenizer = pre_tokenizers.Sequence(steps)
    result.decoder = decoders.ByteLevel()
    result.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in tokenizer.special])
    return result


def to_tiktoken(tokenizer: BPETokenizer, *, name: str) -> tiktoken.Encoding:
    """Return the same tokenizer for ``tiktoken``, OpenAI's encoder.

    tiktoken knows no merges: it joins whichever neighbours together are the token of the smallest id. For merges that
    training has learnt this is the same, for others it need not be, so it is checked. Needs ``tiktoken`` (extra
    ``learn``).

    Raises:
        ValueError: If the pattern is an expression of your own (tiktoken drops what lies between two matches), or
            some token is never made from its own bytes.

    Example:
        >>> from course_lib.tokenization import BPETokenizer
        >>> to_tiktoken(BPETokenizer([(71, 72)]), name="tiny").encode("high")
        [256, 70, 71]
    """
    import tiktoken

    if tokenizer.pattern is not None and tokenizer.pattern not in NAMED:
        raise ValueError(
            f"to_tiktoken knows the patterns {', '.join(map(repr, NAMED))} and None, got {tokenizer.pattern!r}: "
            "tiktoken would drop text that the expression does not match."
        )
    first_byte_id = len(tokenizer.special_tokens)
    first_new_id = first_byte_id + 256
    made_by = {pair: first_new_id + rank for rank, pair in enumerate(tokenizer.merges)}
    ranks = {tokenizer.token_bytes(number): number for number in range(first_byte_id, first_new_id + len(made_by))}
    for token, number in ranks.items():
        if merge_piece([ranks[bytes([byte])] for byte in token], made_by) != (number,):
            raise ValueError(f"token {number}, {token!r}, is never made from its own bytes: tiktoken would make it.")
    return tiktoken.Encoding(
        name,
        pat_str=r"(?s:.+)" if tokenizer.pattern is None else expression(tokenizer.pattern),
        mergeable_ranks=ranks,
        special_tokens=dict(tokenizer.special),
    )
