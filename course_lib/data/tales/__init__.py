"""Tales: short stories from a seeded grammar, with exact attributes, exact probabilities and an exact entropy."""

from .entropy import entropy, num_stories
from .parse import Grade, NotATale, grade, log_prob, parse
from .sample import split_of, tales
from .tale import Tale, as_dataset, instruction

__all__ = [
    "Grade",
    "NotATale",
    "Tale",
    "as_dataset",
    "entropy",
    "grade",
    "instruction",
    "log_prob",
    "num_stories",
    "parse",
    "split_of",
    "tales",
]
