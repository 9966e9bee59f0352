"""N-gram language models on token ids: the baselines that a neural language model has to beat."""

from .add_one import AddOne
from .counts import NgramCounts, count_ngrams
from .kneser_ney import KneserNey

__all__ = ["AddOne", "KneserNey", "NgramCounts", "count_ngrams"]
