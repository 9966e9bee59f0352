"""Glyphs: letters and digits drawn from matplotlib's fonts, alone and in pairs, with captions that describe them."""

from .captions import CAPTION_WORDS, encode_captions, glyph_classes
from .faces import CHARACTERS, FACES, FAMILIES, STYLES, UNSEEN, Face
from .pairs import GlyphPairs, glyph_pairs
from .single import Glyphs, glyphs

__all__ = [
    "CAPTION_WORDS",
    "CHARACTERS",
    "FACES",
    "FAMILIES",
    "STYLES",
    "UNSEEN",
    "Face",
    "GlyphPairs",
    "Glyphs",
    "encode_captions",
    "glyph_classes",
    "glyph_pairs",
    "glyphs",
]
