"""A model of text in a folder: weights, tokenizer, card; every byte checked when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as to_bytes
from torch import nn

from course_lib.alignment import RewardModel
from course_lib.nn.transformer import Transformer, TransformerConfig
from course_lib.tokenization import BPETokenizer
from course_lib.zoo.card import Card
from course_lib.zoo.files import (
    CARD,
    LANGUAGE_MODEL,
    REWARD_MODEL,
    SHIPPED,
    TOKENIZER,
    WEIGHTS,
    DamagedModel,
    card_in,
    checked,
    digest,
    names,
    shipped,
    without_card,
    write_card,
)
from course_lib.zoo.pretrained import Pretrained
from course_lib.zoo.pretrained_reward import PretrainedReward

__all__ = [
    "CARD",
    "SHIPPED",
    "TOKENIZER",
    "WEIGHTS",
    "DamagedModel",
    "load",
    "load_any",
    "load_folder",
    "load_reward_model",
    "names",
    "save",
]

Model = TypeVar("Model", bound=nn.Module)
Whole = TypeVar("Whole", Pretrained, PretrainedReward)


def load(name: str, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Pretrained:
    """Return one of the language models that come with the course.

    Args:
        name: One of ``names("language model")``, such as ``"python_text"``.
        dtype: What to compute in. Weights are stored in bf16, so float32 holds them exactly.
        device: Where to put the model.

    Returns:
        A `Pretrained`, its model in evaluation mode: ``load("python_text").complete(["def"])``.

    Raises:
        ValueError: If there is no such model, or it is none of language; the message says what there is.
        DamagedModel: If a file is missing or not the one that was shipped.
    """
    return load_folder(shipped(name, LANGUAGE_MODEL), dtype=dtype, device=device)


def load_any(name: str, *, device: str | torch.device = "cpu") -> Pretrained:
    """Return the language model of that name, or the one in the folder of that path, which has a slash in it.

    Raises:
        ValueError: As `load` and `load_folder`.
        DamagedModel: As they do.
    """
    return load(name, device=device) if Path(name).name == name else load_folder(name, device=device)


def load_folder(
    folder: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Pretrained:
    """Return the model that `save` (or the recipe ``course_lib.recipes.pretrain``) wrote into ``folder``.

    Nothing is unpickled, and torch's global random state is left alone.

    Args:
        folder: Holds the four files.
        dtype: What to compute in.
        device: Where to put the model.

    Raises:
        ValueError: If there is no card in ``folder``, or ``dtype`` is not a floating one.
        DamagedModel: If a file is missing, not the one that the card names by its hash, or does not fit the card.
    """
    return _read(Path(folder), LANGUAGE_MODEL, _transformer, Pretrained, dtype, device)


def load_reward_model(
    name: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> PretrainedReward:
    """Return one of the reward models that come with the course, or one that ``course_lib.recipes`` wrote.

    Args:
        name: One of ``names("reward model")``, such as ``"stories_reward"``; or the path of a folder of your own, with
            a slash in it.
        dtype: What to compute in. Weights are stored in bf16, so float32 holds them exactly.
        device: Where to put the model.

    Returns:
        A `PretrainedReward`, its model in evaluation mode: ``load_reward_model("stories_reward").score([story])``.

    Raises:
        ValueError: If there is no such model, it is of another kind, or ``dtype`` is not a floating one.
        DamagedModel: If a file is missing, not the one that the card names by its hash, or does not fit the card.
    """
    place = shipped(str(name), REWARD_MODEL) if Path(name).name == str(name) else Path(name)
    return _read(place, REWARD_MODEL, _reward_model, PretrainedReward, dtype, device)


def save(folder: str | Path, pretrained: Pretrained | PretrainedReward, *, dtype: torch.dtype = torch.bfloat16) -> Card:
    """Write a model into ``folder`` as four files, the card last; files of those names are replaced.

    Args:
        folder: Made if it is not there.
        pretrained: What to save.
        dtype: What to store weights in. bf16 halves the size and keeps 8 bits of precision.

    Returns:
        The card with the files' hashes.

    Raises:
        ValueError: If ``dtype`` is not a floating one.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating one, such as torch.bfloat16, got {dtype}.")
    weights = {name: weight.to("cpu", dtype) for name, weight in pretrained.model.state_dict().items()}
    place = without_card(folder)
    (place / WEIGHTS).write_bytes(to_bytes(weights))
    pretrained.tokenizer.save(place / TOKENIZER)
    card = replace(pretrained.card, files={name: digest(place / name) for name in (WEIGHTS, TOKENIZER)})
    write_card(place, card.to_json(), card.markdown())
    return card


def _read(
    place: Path,
    kind: str,
    build: Callable[[Mapping[str, Any]], Model],
    whole: Callable[[Model, BPETokenizer, Card], Whole],
    dtype: torch.dtype,
    device: str | torch.device,
) -> Whole:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating one, such as torch.float32, got {dtype}.")
    described = card_in(place)
    if (found := described.get("kind", LANGUAGE_MODEL)) != kind:
        raise ValueError(f"expected a {kind} in {place}, its card says {found!r}.")
    try:
        card = Card.from_json(described)
        model = build(card.architecture)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedModel(f"{place / CARD} is no model card: {error}") from error
    content = {name: checked(place / name, card.files) for name in (WEIGHTS, TOKENIZER)}
    try:
        tensors = load_tensors(content[WEIGHTS])
        tokenizer = BPETokenizer.load(place / TOKENIZER)
        model.load_state_dict(tensors)
        pretrained = whole(model.eval(), tokenizer, card)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise DamagedModel(f"the files in {place} do not fit its card: {error}") from error
    model.to(device=device, dtype=dtype)
    return pretrained


def _transformer(architecture: Mapping[str, Any]) -> Transformer:
    return Transformer(TransformerConfig(**architecture), generator=torch.Generator().manual_seed(0))


def _reward_model(architecture: Mapping[str, Any]) -> RewardModel:
    rest = {name: value for name, value in architecture.items() if name != "pooling"}
    return RewardModel(_transformer(rest), pooling=architecture["pooling"])
