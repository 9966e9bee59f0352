"""Two voices for the same stories, put on and told apart by a program: fine-tuning chooses who is speaking."""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

Style = Literal["plain", "sailor", "grandmother"]

_OPENINGS: dict[str, tuple[str, ...]] = {
    "sailor": ("Ahoy, shipmates!", "Gather round the mast, lads!", "Ahoy! Here is a yarn from the seven seas."),
    "grandmother": ("Come closer, my dear.", "Sit down by the stove, little one.", "Hush now, my sweet."),
}
_CLOSINGS: dict[str, tuple[str, ...]] = {
    "sailor": ("So it went, or I am no sailor.", "And that is no lie, by wind and wave!", "Now back to the ropes!"),
    "grandmother": ("And now to bed with you.", "Your grandmother knows, my dear.", "Sleep tight, little one."),
}


def in_style(text: str, style: Style) -> str:
    """Return a story as somebody tells it: with an opening and a closing word of theirs, the story itself unchanged.

    Which of a voice's words come is decided by a hash of the story, so the same story is always told the same way.

    Args:
        text: A story in no style.
        style: "plain" changes nothing.

    Raises:
        ValueError: For an unknown style, or a story that has a style already.

    Example:
        >>> in_style("Once there was a fox.", "sailor")
        'Ahoy, shipmates! Once there was a fox. And that is no lie, by wind and wave!'
    """
    if style not in get_args(Style):
        raise ValueError(f"style must be one of {', '.join(get_args(Style))}, got {style!r}.")
    if style_of(text) != "plain":
        raise ValueError(f"the story is told in a style already ({text[:40]!r}...): take without_style(text).")
    if style == "plain":
        return text
    openings, closings = _OPENINGS[style], _CLOSINGS[style]
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).digest(), "big")
    return f"{openings[number % len(openings)]} {text} {closings[number // len(openings) % len(closings)]}"


def style_of(text: str) -> Style | None:
    """Return who tells a story: the voice whose opening and closing words it has.

    Returns:
        "plain" if there is no word of either voice anywhere; None if the words are not whole or mixed: an opening
        without its closing, one voice's opening and another's closing, or words in the middle.

    Example:
        >>> style_of("Ahoy, shipmates! Once there was a fox. Now back to the ropes!"), style_of("Ahoy, shipmates!")
        ('sailor', None)
    """
    asides = [aside for words in (_OPENINGS, _CLOSINGS) for voice in words.values() for aside in voice]
    held = sum(text.count(aside) for aside in asides)
    if held == 0:
        return "plain"
    for style in get_args(Style)[1:]:
        whole = text.startswith(_OPENINGS[style]) and text.endswith(_CLOSINGS[style])
        if whole and held == 2:
            return style  # type: ignore[no-any-return]
    return None


def without_style(text: str) -> str:
    """Return a story without the words of a voice at its beginning and its end: what a program can grade.

    Example:
        >>> without_style("Ahoy, shipmates! Once there was a fox. Now back to the ropes!")
        'Once there was a fox.'
    """
    for openings in _OPENINGS.values():
        for opening in openings:
            text = text.removeprefix(opening)
    for closings in _CLOSINGS.values():
        for closing in closings:
            text = text.removesuffix(closing)
    return text.strip()
