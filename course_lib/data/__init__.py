"""Data that ships, your own data, public data; splits, and the order in which batches come."""

from .batches import Batches
from .embedded import digits, mnist_small, table
from .examples import Examples
from .files import from_files
from .hub import HubUnavailable, from_hub
from .packed_stream import PackedStream
from .packing import pack
from .python_text import python_text
from .splits import split
from .sums import Sum, sums
from .tales import Tale, tales

__all__ = [
    "Batches",
    "Examples",
    "HubUnavailable",
    "PackedStream",
    "Sum",
    "Tale",
    "digits",
    "from_files",
    "from_hub",
    "mnist_small",
    "pack",
    "python_text",
    "split",
    "sums",
    "table",
    "tales",
]
