"""Pre-tokenisation: cut text into pieces (words, numbers, punctuation, blanks) that no merge may cross."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import regex

# \p{L} are letters of any script, \p{N} digits and other numbers; a piece may begin with one space.
# \s+(?!\S) takes blanks up to, but not including, the last one, which goes to the word after it.
_GPT2 = r"'(?:s|t|re|ve|m|ll|d)| ?(?:\p{L}+|\p{N}+|[^\s\p{L}\p{N}]+)|\s+(?!\S)|\s+"

# GPT-4's cl100k as first published: contractions in either case, a word may begin with any one sign, digits in groups
# of three from the left, line ends stay with the punctuation before them. (Newer releases of tiktoken have another
# form, which joins a last line end and the blanks after it where a text ends in them.)
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Where text may be cut, whatever else is in it: after a word's last letter, after a number's last digit, between a
# sign that is no blank and a blank, and (GPT-4) after a line end before something that is no blank.
# Why this is safe: no alternative above matches a string with such a place inside it, so there is always a border
# between two pieces; before the border, a repeat that stopped at the next character stops at the end just as well, and
# the look-ahead, which only follows blanks, never looks there; after it, nothing looks back.
_GPT2_CUT = r"(?<=\p{L})(?=\P{L})|(?<=\p{N})(?=\P{N})|(?<=\S)(?=\s)"
_GPT4_CUT = r"(?<=\p{L})(?=\P{L})|(?<=\p{N})(?=\P{N})|(?<=\S)(?=[^\S\r\n])|(?<=[\r\n])(?=\S)"

NAMED = {"gpt2": (_GPT2, _GPT2_CUT), "gpt4": (_GPT4, _GPT4_CUT)}


def expression(pattern: str) -> str:
    r"""Return the regular expression that ``pattern``, a name or an expression already, stands for.

    Example:
        >>> expression(r"\w+|\W+")
        '\\w+|\\W+'
    """
    return NAMED[pattern][0] if pattern in NAMED else pattern


def split_pieces(text: str, pattern: str | None) -> list[str]:
    """Cut ``text`` into pieces; joined, they are the text again.

    What is a letter is decided by the package ``regex`` and the version of Unicode it follows. It agrees with Hugging
    Face's ``tokenizers`` on all characters that both know; scripts added to Unicode since may be cut otherwise.

    Args:
        text: Any text.
        pattern: ``"gpt2"``, ``"gpt4"``, a regular expression whose matches become pieces (what lies between two
            matches is a piece too), or ``None``: the whole text is one piece.

    Returns:
        Pieces, none of them empty.

    Raises:
        ValueError: If there is no pattern of that name, or the expression is malformed or has capturing groups.
        ModuleNotFoundError: If the package ``regex`` is missing.

    Example:
        >>> split_pieces("We're 1234  here", "gpt2")
        ['We', "'re", ' 1234', ' ', ' here']
        >>> split_pieces("We're 1234  here", "gpt4")
        ['We', "'re", ' ', '123', '4', ' ', ' here']
    """
    if pattern is None:
        return [text] if text else []
    compiled = _compile(pattern)
    if pattern in NAMED:
        found: list[str] = compiled.findall(text)
        return found  # every character is a letter, a number, a blank or none of them: no gaps
    pieces, end = [], 0
    for match in compiled.finditer(text):
        pieces += [text[end : match.start()], match.group()]
        end = match.end()
    return [piece for piece in [*pieces, text[end:]] if piece]


def last_cut(text: str, pattern: str | None, start: int, stop: int) -> int | None:
    """Return the last place in ``[start, stop]`` where a named pattern surely has a border, None if there is none.

    The pieces of ``text[:cut]`` and of ``text[cut:]`` together are the pieces of ``text``, whatever follows ``text``.

    Raises:
        ValueError: If the pattern is None or an expression of your own, for which no safe places are known.

    Example:
        >>> last_cut("one two thr", "gpt2", 1, 10)
        7
    """
    if pattern not in NAMED:
        raise ValueError(
            f"text can be cut safely for the patterns {' and '.join(NAMED)} only, got {pattern!r}: encode whole "
            "documents, one at a time, with encode_many."
        )
    if stop < start:
        return None
    # One more on either side, for the expression to look at; searched from the end, so that the last cut comes first.
    match = _compile_cut(NAMED[pattern][1]).search(text, max(start - 1, 0), stop + 1)
    return int(match.start()) if match and match.start() >= start else None


def check_pattern(pattern: str | None) -> None:
    """Refuse a pattern that is neither None nor a known name nor an expression that can split text.

    Raises:
        ValueError: If it is malformed, has capturing groups, or looks like a name and is none.
        ModuleNotFoundError: If it is an expression and the package ``regex`` is missing.
    """
    if pattern is not None and pattern not in NAMED:
        _compile(pattern)


@lru_cache(maxsize=32)
def _compile(pattern: str) -> regex.Pattern[str]:
    if pattern.isidentifier() and pattern not in NAMED:
        raise ValueError(
            f"there is no pattern named {pattern!r}: expected {', '.join(map(repr, NAMED))}, None, or a regular "
            "expression."
        )
    engine = _engine()
    try:
        compiled = engine.compile(expression(pattern))
    except engine.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}.") from error
    if compiled.groups:
        raise ValueError(f"pattern {pattern!r} has capturing groups: write (?:...) where it has (...).")
    return compiled


@lru_cache(maxsize=len(NAMED))
def _compile_cut(cut: str) -> regex.Pattern[str]:
    engine = _engine()
    return engine.compile(cut, engine.REVERSE)


def _engine() -> Any:
    try:
        import regex
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pre-tokenisation needs the package regex, because Python's own re does not know \\p{L}: "
            "pip install regex, or install course-lib with its extra 'learn'."
        ) from error
    return regex
