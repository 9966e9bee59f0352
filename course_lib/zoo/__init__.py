"""Small models that this project has trained, ready to use: weights, and a card that says what they are."""

from .card import Card
from .classifier import Classifier
from .files import DamagedModel, names
from .folders import load, load_folder, load_reward_model, save
from .image_card import ImageCard
from .image_folders import load_classifier, load_generator, save_images
from .image_generator import ImageGenerator
from .image_network import ImageNetwork
from .pretrained import Pretrained
from .pretrained_reward import PretrainedReward

__all__ = [
    "Card",
    "Classifier",
    "DamagedModel",
    "ImageCard",
    "ImageGenerator",
    "ImageNetwork",
    "Pretrained",
    "PretrainedReward",
    "load",
    "load_classifier",
    "load_folder",
    "load_generator",
    "load_reward_model",
    "names",
    "save",
    "save_images",
]
