"""Which characters and faces there are, how a face is described, and which combinations are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Combinations = Literal["all", "seen", "unseen"]
Style = Literal["regular", "bold", "italic", "bold italic"]
Family = Literal["sans", "serif", "mono"]

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # a character's class number is its place here
STYLES: tuple[Style, ...] = ("regular", "bold", "italic", "bold italic")
FAMILIES: tuple[Family, ...] = ("sans", "serif", "mono")

_LETTERS = CHARACTERS[10:]


@dataclass(frozen=True, slots=True)
class Face:
    """One font file, and the words that describe what it looks like.

    Args:
        file: Name of the file among matplotlib's TrueType fonts, without its ending.
        typeface: What its makers call it.
        family: ``"sans"`` (plain stroke ends), ``"serif"`` (strokes end in small feet) or ``"mono"`` (all as wide).
        style: Weight and slant together. Slanted is called italic, whether redrawn or merely leaning ("oblique").
        characters: What it draws. All but one draw everything: the digits of Computer Modern Math stand upright,
            so it is used for its italic letters alone.

    Example:
        >>> FACES[3].description
        'bold italic sans'
    """

    file: str
    typeface: str
    family: Family
    style: Style
    characters: str = CHARACTERS

    @property
    def description(self) -> str:
        """The words of a caption that describe it; regular weight and slant go without saying."""
        return self.family if self.style == "regular" else f"{self.style} {self.family}"


FACES = (
    Face("DejaVuSans", "DejaVu Sans", "sans", "regular"),
    Face("DejaVuSans-Bold", "DejaVu Sans", "sans", "bold"),
    Face("DejaVuSans-Oblique", "DejaVu Sans", "sans", "italic"),
    Face("DejaVuSans-BoldOblique", "DejaVu Sans", "sans", "bold italic"),
    Face("DejaVuSerif", "DejaVu Serif", "serif", "regular"),
    Face("DejaVuSerif-Bold", "DejaVu Serif", "serif", "bold"),
    Face("DejaVuSerif-Italic", "DejaVu Serif", "serif", "italic"),
    Face("DejaVuSerif-BoldItalic", "DejaVu Serif", "serif", "bold italic"),
    Face("DejaVuSansMono", "DejaVu Sans Mono", "mono", "regular"),
    Face("DejaVuSansMono-Bold", "DejaVu Sans Mono", "mono", "bold"),
    Face("DejaVuSansMono-Oblique", "DejaVu Sans Mono", "mono", "italic"),
    Face("DejaVuSansMono-BoldOblique", "DejaVu Sans Mono", "mono", "bold italic"),
    Face("STIXGeneral", "STIX General", "serif", "regular"),
    Face("STIXGeneralBol", "STIX General", "serif", "bold"),
    Face("STIXGeneralItalic", "STIX General", "serif", "italic"),
    Face("STIXGeneralBolIta", "STIX General", "serif", "bold italic"),
    Face("cmr10", "Computer Modern Roman", "serif", "regular"),
    Face("cmb10", "Computer Modern Roman", "serif", "bold"),
    Face("cmti10", "Computer Modern Roman", "serif", "italic"),
    Face("cmmi10", "Computer Modern Math", "serif", "italic", _LETTERS),
    Face("cmss10", "Computer Modern Sans", "sans", "regular"),
    Face("cmtt10", "Computer Modern Typewriter", "mono", "regular"),
)

# Character number c and STYLES[c % 5] never meet, in no family; characters with c % 5 == 4 come in every style.
UNSEEN: tuple[tuple[str, Style], ...] = tuple(
    (character, STYLES[number % 5]) for number, character in enumerate(CHARACTERS) if number % 5 < len(STYLES)
)


def belongs(combinations: Combinations, character: str, face: Face) -> bool:
    """Return whether ``face`` draws ``character``, and the two together belong to ``combinations``.

    Raises:
        ValueError: If ``combinations`` is not ``"all"``, ``"seen"`` or ``"unseen"``.
    """
    if combinations not in ("all", "seen", "unseen"):
        raise ValueError(f"combinations must be 'all', 'seen' or 'unseen', got {combinations!r}.")
    unseen = (character, face.style) in UNSEEN
    return character in face.characters and (combinations == "all" or unseen == (combinations == "unseen"))
