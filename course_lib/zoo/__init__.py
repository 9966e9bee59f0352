"""Small models that this project has trained, ready to use: weights, and a card that says what they are."""

from .card import Card
from .classifier import Classifier
from .files import DamagedModel, names
from .folders import load, load_folder, save
from .image_card import ImageCard
from .image_folders import load_classifier, load_generator, save_images
from .image_generator import ImageGenerator
from .image_network import ImageNetwork
from .pretrained import Pretrained

__all__ = [
    "Card",
    "Classifier",
    "DamagedModel",
    "ImageCard",
    "ImageGenerator",
    "ImageNetwork",
    "Pretrained",
    "load",
    "load_classifier",
    "load_folder",
    "load_generator",
    "names",
    "save",
    "save_images",
]
