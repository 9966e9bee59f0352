"""Data that ships, your own data, public data; splits, and the order in which batches come."""

from . import augment
from .batches import Batches
from .embedded import digits, mnist_small, table
from .examples import Examples
from .files import from_files
from .glyphs import (
    CAPTION_WORDS,
    CHARACTERS,
    FACES,
    GlyphPairs,
    Glyphs,
    encode_captions,
    glyph_classes,
    glyph_pairs,
    glyphs,
)
from .hub import HubUnavailable, from_hub
from .packed_stream import PackedStream
from .packing import pack
from .python_text import python_text
from .splits import split
from .sums import Sum, sums
from .tales import Tale, tales

__all__ = [
    "CAPTION_WORDS",
    "CHARACTERS",
    "FACES",
    "Batches",
    "Examples",
    "GlyphPairs",
    "Glyphs",
    "HubUnavailable",
    "PackedStream",
    "Sum",
    "Tale",
    "augment",
    "digits",
    "encode_captions",
    "from_files",
    "from_hub",
    "glyph_classes",
    "glyph_pairs",
    "glyphs",
    "mnist_small",
    "pack",
    "python_text",
    "split",
    "sums",
    "table",
    "tales",
]
