"""Data that ships, your own data, public data; splits, and the order in which batches come."""

from .batches import Batches
from .embedded import digits, mnist_small, table
from .examples import Examples
from .files import from_files
from .hub import HubUnavailable, from_hub
from .splits import split

__all__ = [
    "Batches",
    "Examples",
    "HubUnavailable",
    "digits",
    "from_files",
    "from_hub",
    "mnist_small",
    "split",
    "table",
]
