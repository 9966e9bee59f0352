"""How good samples are: how far from real data, how real, how varied, and whether they are copies."""

from .frechet import frechet_distance, frechet_floor
from .neighbours import Neighbours, nearest_neighbours
from .precision_recall import PrecisionRecall, precision_recall

__all__ = [
    "Neighbours",
    "PrecisionRecall",
    "frechet_distance",
    "frechet_floor",
    "nearest_neighbours",
    "precision_recall",
]
