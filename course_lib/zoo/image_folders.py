"""An image model in a folder: weights and card; every byte checked when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as to_bytes
from torch import nn

from course_lib.nn.unet import UNet
from course_lib.zoo.classifier import Classifier
from course_lib.zoo.files import (
    CARD,
    CLASSIFIER,
    GENERATOR,
    WEIGHTS,
    DamagedModel,
    card_in,
    checked,
    digest,
    shipped,
    without_card,
    write_card,
)
from course_lib.zoo.image_card import ImageCard
from course_lib.zoo.image_generator import ImageGenerator
from course_lib.zoo.image_network import ImageNetwork

Network = TypeVar("Network", bound=nn.Module)


def load_classifier(name: str | Path, *, device: str | torch.device = "cpu") -> Classifier:
    """Return one of the classifiers that come with the course, or one that ``course_lib.recipes`` wrote.

    Args:
        name: One of ``names("classifier")``, such as ``"digit_classifier"``; or the path of a folder of your own, with
            a slash in it.
        device: Where to put it.

    Returns:
        A `Classifier`: ``load_classifier("digit_classifier").predict(images)``.

    Raises:
        ValueError: If there is no such model, or it is no classifier; the message says what there is.
        DamagedModel: If a file is missing, not the one that the card names by its hash, or does not fit the card.
    """
    place, card = _card(name, CLASSIFIER)
    return Classifier(_network(place, card, ImageNetwork).to(device), card)


def load_generator(name: str | Path, *, device: str | torch.device = "cpu") -> ImageGenerator:
    """Return one of the image generators that come with the course, or one that ``course_lib.recipes`` wrote.

    Args:
        name: One of ``names("generator")``, or the path of a folder of your own, with a slash in it.
        device: Where to put it.

    Returns:
        An `ImageGenerator`, with a method ``sample(labels)``.

    Raises:
        ValueError: If there is no such model, or it is no generator; the message says what there is.
        DamagedModel: If a file is missing, not the one that the card names by its hash, or does not fit the card.
    """
    place, card = _card(name, GENERATOR)
    return ImageGenerator(_network(place, card, UNet).to(device), card)


def save_images(folder: str | Path, model: Classifier | ImageGenerator) -> ImageCard:
    """Write an image model into ``folder`` as three files, weights in bf16, the card last; return it with the hashes.

    Files of those names are replaced.
    """
    place = without_card(folder)
    weights = {name: weight.to("cpu", torch.bfloat16) for name, weight in model.network.state_dict().items()}
    (place / WEIGHTS).write_bytes(to_bytes(weights))
    card = replace(model.card, files={WEIGHTS: digest(place / WEIGHTS)})
    write_card(place, card.to_json(), card.markdown())
    return card


def _card(name: str | Path, kind: str) -> tuple[Path, ImageCard]:
    place = shipped(str(name), kind) if Path(name).name == str(name) else Path(name)
    content = card_in(place)
    if content.get("kind") != kind:
        raise ValueError(f"expected a {kind} in {place}, its card says {content.get('kind', 'language model')!r}.")
    try:
        return place, ImageCard.from_json(content)
    except ValueError as error:
        raise DamagedModel(f"{place / CARD} is no model card: {error}") from error


def _network(place: Path, card: ImageCard, build: Callable[..., Network]) -> Network:
    content = checked(place / WEIGHTS, card.files)
    arguments: dict[str, Any] = card.architecture
    try:
        network = build(**arguments, generator=torch.Generator().manual_seed(0))
        network.load_state_dict(load_tensors(content))
    except (SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise DamagedModel(f"the files in {place} do not fit its card: {error}") from error
    return network.eval().requires_grad_(False)
