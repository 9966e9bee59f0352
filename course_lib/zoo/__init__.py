"""Small models that this project has trained, ready to use: weights, tokenizer and a card that says what they are."""

from .card import Card
from .folders import DamagedModel, load, load_folder, names, save
from .pretrained import Pretrained

__all__ = ["Card", "DamagedModel", "Pretrained", "load", "load_folder", "names", "save"]
