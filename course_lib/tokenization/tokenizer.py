"""A byte-level BPE tokenizer: text to ids and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING

from . import exchange, files, stream
from .byte_alphabet import refuse_surrogates
from .decode import Errors, check_errors, join_bytes, stream_text
from .files import Contents
from .merge import Pair
from .piece_cache import PieceCache
from .pretokens import check_pattern, split_pieces
from .special import SpecialMode, check_special_mode, check_special_tokens, special_finder, split_at_special
from .vocabulary import checked_merges, tokens_by_id

if TYPE_CHECKING:
    import tiktoken
    import tokenizers


class BPETokenizer:
    """Text to ids and back, by merges that `course_lib.tokenization.train_bpe` has learnt.

    Every text has ids, whatever its script, because every text is bytes and all 256 bytes are tokens; and decoding
    gives back exactly the text. Ids: special tokens from 0 on, then the 256 bytes, then one id a merge, then special
    tokens that were added later. ``special`` holds the ids of both kinds.

    Args:
        merges: Pairs of ids, in the order in which they were learnt.
        special_tokens: Names of the special tokens.
        added_tokens: Names of further ones, numbered after all else; `with_special` adds some to a trained tokenizer.
        pattern: How text is cut into pieces, see `course_lib.tokenization.train_bpe`.

    Raises:
        ValueError: If a merge uses an id that is no byte and no earlier merge, two merges make the same token, or a
            special token or the pattern is malformed.

    Example:
        >>> tokenizer = BPETokenizer([(66, 67)], special_tokens=["<|end|>"], pattern=None)
        >>> tokenizer.encode("abc<|end|>", special="token")
        [65, 257, 0]
    """

    def __init__(
        self,
        merges: Sequence[Pair],
        *,
        special_tokens: Sequence[str] = (),
        added_tokens: Sequence[str] = (),
        pattern: str | None = "gpt2",
    ) -> None:
        check_special_tokens(special_tokens, added_tokens)
        check_pattern(pattern)
        self.pattern = pattern
        self.merges = checked_merges(merges)
        self.special_tokens, self.added_tokens = tuple(special_tokens), tuple(added_tokens)
        self._bytes = tokens_by_id(self.merges, special_tokens, added_tokens)
        names, num_added = self.special_tokens + self.added_tokens, len(added_tokens)
        numbers = [*range(len(special_tokens)), *range(self.vocab_size - num_added, self.vocab_size)]
        self.special: Mapping[str, int] = MappingProxyType(dict(zip(names, numbers, strict=True)))
        self._finder = special_finder(names)
        made_by = {pair: len(special_tokens) + 256 + rank for rank, pair in enumerate(self.merges)}
        self._ids_of = PieceCache(made_by, first_byte_id=len(special_tokens))

    @property
    def vocab_size(self) -> int:
        """How many ids there are: special tokens, bytes and merges."""
        return len(self._bytes)

    def __repr__(self) -> str:
        return (
            f"BPETokenizer({self.vocab_size} tokens: {len(self.special)} special, 256 bytes, "
            f"{len(self.merges)} merges; pattern {self.pattern!r})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BPETokenizer) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(self.__getstate__())

    def __getstate__(self) -> Contents:
        """What makes it up, without the cache: pickles of equal tokenizers are equal, whatever they have encoded."""
        return Contents(self.merges, self.special_tokens, self.added_tokens, self.pattern)

    def __setstate__(self, state: Contents) -> None:
        self.__init__(**asdict(state))  # type: ignore[misc]

    def with_special(self, names: Sequence[str]) -> BPETokenizer:
        """Return a copy with further special tokens, such as a chat's marks, numbered after all ids there are.

        No id changes its meaning, so a model needs new rows for them, and nothing else
        (`course_lib.nn.transformer.grow_vocabulary`).

        Raises:
            ValueError: If a name is malformed, an ordinary token, or there already.

        Example:
            >>> BPETokenizer([(71, 72)]).with_special(["<|user|>"]).encode("<|user|>hi", special="token")
            [257, 256]
        """
        check_special_tokens(names)
        added = (*self.added_tokens, *names)
        return BPETokenizer(self.merges, special_tokens=self.special_tokens, added_tokens=added, pattern=self.pattern)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that an id stands for; for a special token those of its name.

        Raises:
            ValueError: If there is no such id.

        Example:
            >>> BPETokenizer([(39, 72)]).token_bytes(256)
            b'Hi'
        """
        return self.decode_bytes([token])

    def pieces(self, text: str) -> list[str]:
        """Cut ordinary text into the pieces that merges do not cross (`course_lib.tokenization.split_pieces`)."""
        return split_pieces(text, self.pattern)

    def encode(self, text: str, *, special: SpecialMode = "refuse") -> list[int]:
        """Turn text into ids.

        What a user writes must not be able to end a document or to speak as the system. So, as in tiktoken, the name
        of a special token inside the text is an error unless you say what it is.

        Args:
            text: Any valid Unicode text. Nothing is normalised.
            special: What the name of a special token in the text means. ``"refuse"``: an error. ``"token"``: the
                special token (of names that overlap the leftmost, and of those the longest). ``"text"``: ordinary text.

        Returns:
            Ids in ``[0, vocab_size)``; ``decode`` gives the text back. At most one id a byte.

        Raises:
            ValueError: If the text holds a lone surrogate, or a special token with ``special="refuse"``.

        Example:
            >>> BPETokenizer([(220, 65)]).encode("a b")
            [64, 256]
        """
        check_special_mode(special)
        if not isinstance(text, str):
            raise ValueError(f"encode needs a text (str), got {type(text).__name__}; bytes have .decode('utf-8').")
        try:
            if self._finder is None or special == "text" or (match := self._finder.search(text)) is None:
                return self._encode_ordinary(text)
            if special == "refuse":
                raise _special_error(match)
            ids: list[int] = []
            for part in split_at_special(text, self._finder, self.special):
                ids += [part] if isinstance(part, int) else self._encode_ordinary(part)
        except UnicodeEncodeError:
            refuse_surrogates(text)
            raise
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        for stretch in stream.stretches(text, pattern=self.pattern):
            ids += chain.from_iterable(map(self._ids_of.__getitem__, self.pieces(stretch)))
        return ids

    def encode_many(self, texts: Iterable[str], *, special: SpecialMode = "refuse") -> Iterator[list[int]]:
        """Yield the ids of each text, reading ``texts`` only as far as you iterate.

        Args:
            texts: Documents; each is encoded for itself.
            special: As in `encode`.

        Raises:
            ValueError: As in `encode`, or if ``texts`` is one string.

        Example:
            >>> list(BPETokenizer([]).encode_many(["a", "bc"]))
            [[64], [65, 66]]
        """
        check_special_mode(special)
        if isinstance(texts, str):
            raise ValueError("texts must be an iterable of texts, got one string: use encode, or write [text].")
        return (self.encode(text, special=special) for text in texts)

    def encode_file(
        self, path: str | PathLike[str], *, special: SpecialMode = "refuse", chunk_bytes: int = stream.CHUNK
    ) -> Iterator[list[int]]:
        r"""Yield the ids of a UTF-8 file of any size, a stretch at a time.

        Joined, the lists are exactly ``encode`` of the whole file's text: the file is cut only where there is a border
        between two pieces whatever comes before and after, never inside a character or a special token. Line ends
        are kept as they are in the file (``Path.read_text`` turns ``\r\n`` into ``\n``).

        Args:
            path: The file.
            special: As in `encode`.
            chunk_bytes: How much to read at a time. Memory is in proportion to it, or to the longest stretch of text
                without a safe place, which is longer than a word only in odd files (a million exclamation marks).

        Raises:
            ValueError: As in `encode`; if the file is not UTF-8; or if the pattern is an expression of your own or
                None, for which no safe places are known.

        Example:
            >>> import pathlib, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = pathlib.Path(folder, "text")
            ...     _ = path.write_text("one two")
            ...     list(BPETokenizer([]).encode_file(path, chunk_bytes=2))
            [[78, 77, 68], [220, 83, 86, 78]]
        """
        check_special_mode(special)
        parts = stream.read_text_parts(path, chunk_bytes=chunk_bytes)
        finder = None if special == "text" else self._finder
        longest = 0 if finder is None else max(map(len, self.special))
        chunks = stream.cut_safely(parts, pattern=self.pattern, finder=finder, longest_special=longest)
        return (self.encode(chunk, special=special) for chunk in chunks)

    def decode(self, ids: Iterable[int], *, errors: Errors = "replace", skip_special: bool = False) -> str:
        """Turn ids into text.

        Some sequences of ids are no valid UTF-8: a model may stop in the middle of a character.

        Args:
            ids: A list, a tensor or an array of one dimension.
            errors: For invalid bytes: ``"replace"`` shows U+FFFD, ``"ignore"`` leaves them out, ``"strict"`` raises.
            skip_special: Leave out special tokens rather than write their names.

        Raises:
            ValueError: If there is no such id, or bytes are invalid and ``errors`` is ``"strict"``.

        Example:
            >>> tokenizer = BPETokenizer([])
            >>> tokenizer.decode(tokenizer.encode("naïve")), tokenizer.decode(tokenizer.encode("ï")[:1])
            ('naïve', '�')
        """
        check_errors(errors)
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int], *, skip_special: bool = False) -> bytes:
        """Return exactly the bytes that ``ids`` stand for, valid UTF-8 or not; arguments as in `decode`."""
        return join_bytes(ids, self._bytes, skip=self.special.values() if skip_special else ())

    def decode_stream(
        self, ids: Iterable[int], *, errors: Errors = "replace", skip_special: bool = False
    ) -> Iterator[str]:
        """Yield the text of each id as it comes, such as a model's answer, and never half a character.

        Each id gives one string, empty while a character is not complete; a last one gives what is left over at the
        end. Joined, they are `decode` of all ids.

        Example:
            >>> tokenizer = BPETokenizer([])
            >>> list(tokenizer.decode_stream(tokenizer.encode("né")))
            ['n', '', 'é', '']
        """
        check_errors(errors)
        skip = self.special.values() if skip_special else ()
        return stream_text(ids, self._bytes, errors=errors, skip=skip)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tokenizer to one JSON file; an older file is replaced at once or not at all."""
        files.save(path, self.__getstate__())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> BPETokenizer:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is cut short, damaged, inconsistent or of another format; the message says where.
        """
        contents = files.load(path)
        try:
            return cls(**asdict(contents))
        except ValueError as error:
            raise ValueError(f"{path} holds no valid tokenizer: {error}") from error

    def to_huggingface(self) -> tokenizers.Tokenizer:
        """Return the same tokenizer for Hugging Face's ``tokenizers``: equal ids (`exchange.to_huggingface`)."""
        return exchange.to_huggingface(self)

    def to_tiktoken(self, *, name: str = "course") -> tiktoken.Encoding:
        """Return the same tokenizer for ``tiktoken``: equal ids (see `exchange.to_tiktoken`)."""
        return exchange.to_tiktoken(self, name=name)


def _special_error(match: re.Match[str]) -> ValueError:
    around = match.string[max(0, match.start() - 20) : match.end() + 20]
    return ValueError(
        f"the text holds the name of the special token {match.group()!r} ({around!r}): say special='token' to encode "
        "it as the special token, or special='text' to encode it as ordinary text."
    )
