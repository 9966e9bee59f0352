"""Read a file of any size and cut it where encoding the parts gives the same ids as encoding the whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from .pretokens import NAMED, last_cut

CHUNK = 1 << 20


def text_chunks(path: str | PathLike[str], *, pattern: str | None = "gpt2", chunk_bytes: int = CHUNK) -> Iterator[str]:
    """Yield the text of a UTF-8 file of any size in chunks that are cut where two pieces surely meet.

    ``train_bpe(text_chunks(path), ...)`` learns what it would learn from the whole text at once.

    Args:
        path: The file.
        pattern: The named pattern that the chunks are for.
        chunk_bytes: How much to read at a time.

    Raises:
        ValueError: If no safe places are known for the pattern, or the file is not UTF-8.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "text")
        ...     _ = path.write_text("one two three")
        ...     list(text_chunks(path, chunk_bytes=6))
        ['one', ' two', ' three']
    """
    return cut_safely(read_text_parts(path, chunk_bytes=chunk_bytes), pattern=pattern)


def stretches(text: str, *, pattern: str | None) -> Iterable[str]:
    """Cut a very long text safely, so that its pieces need not all be in memory at once."""
    if len(text) <= CHUNK or pattern not in NAMED:
        return [text]
    return cut_safely((text[first : first + CHUNK] for first in range(0, len(text), CHUNK)), pattern=pattern)


def read_text_parts(path: str | PathLike[str], *, chunk_bytes: int) -> Iterator[str]:
    """Yield the text of a UTF-8 file, about ``chunk_bytes`` at a time; a character is never split.

    Raises:
        ValueError: If ``chunk_bytes`` is below 1 or, while reading, the file turns out not to be UTF-8.
        OSError: If the file cannot be opened.
    """
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, got {chunk_bytes}.")
    with Path(path).open("rb"):
        pass  # so that a wrong path is an error here, not at the first iteration
    return _read(Path(path), chunk_bytes)


def _read(path: Path, chunk_bytes: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    position = 0
    with path.open("rb") as file:
        while True:
            block = file.read(chunk_bytes)
            position += len(block)
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                place = position - len(error.object) + error.start
                raise ValueError(
                    f"{path} is not UTF-8: {error.reason} at byte {place}. Convert it first, with Python's "
                    "open(path, encoding=...) for example."
                ) from error
            if not block:
                return


def cut_safely(
    parts: Iterable[str], *, pattern: str | None, finder: re.Pattern[str] | None = None, longest_special: int = 0
) -> Iterator[str]:
    """Join ``parts`` and cut the text anew, where pieces and special tokens surely end.

    Args:
        parts: A text in any parts.
        pattern: A named pattern, see `course_lib.tokenization.pretokens.last_cut`.
        finder: What finds special tokens; None if they are ordinary text.
        longest_special: Characters of the longest special token.

    Returns:
        An iterator of parts: encoding them one by one gives the ids of the whole.

    Raises:
        ValueError: If no safe places are known for the pattern.

    Example:
        >>> list(cut_safely(["one tw", "o thr", "ee"], pattern="gpt2"))
        ['one', ' two', ' three']
    """
    last_cut("", pattern, 0, 0)  # refuses a pattern without safe places at the call
    return _cut(parts, pattern, finder, longest_special)


def _cut(
    parts: Iterable[str], pattern: str | None, finder: re.Pattern[str] | None, longest_special: int
) -> Iterator[str]:
    held, searched = "", 1  # no cut lies before `searched`
    for part in parts:
        held += part
        # A special token that begins before the cut must be held whole, and be known not to be a longer one.
        stop = len(held) - max(longest_special - 1, 1)
        cut = last_cut(held, pattern, searched, stop)
        for first, last in reversed(_spans(held, finder)):
            if cut is not None and first < cut < last:
                cut = last_cut(held, pattern, searched, first)
        if cut is None:
            searched = max(searched, stop + 1)
        else:
            yield held[:cut]
            held, searched = held[cut:], 1
    if held:
        yield held


def _spans(text: str, finder: re.Pattern[str] | None) -> list[tuple[int, int]]:
    return [] if finder is None else [match.span() for match in finder.finditer(text)]
