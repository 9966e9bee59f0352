"""A model in a folder: weights, tokenizer, card; every byte checked when it is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as to_bytes

from course_lib.nn.transformer import Transformer, TransformerConfig
from course_lib.tokenization import BPETokenizer
from course_lib.zoo.card import Card
from course_lib.zoo.pretrained import Pretrained

WEIGHTS, TOKENIZER, CARD, PAGE = "weights.safetensors", "tokenizer.json", "card.json", "README.md"
SHIPPED = Path(__file__).parent / "weights"


class DamagedModel(RuntimeError):
    """A model's files are not those that its card names; the message says which."""


def names() -> list[str]:
    """Return the names of the models that come with the course."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))


def load(name: str, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Pretrained:
    """Return one of the models that come with the course.

    Args:
        name: One of `names`, such as ``"python_text"``.
        dtype: What to compute in. Weights are stored in bf16, so float32 holds them exactly.
        device: Where to put the model.

    Returns:
        A `Pretrained`, its model in evaluation mode: ``load("python_text").complete(["def"])``.

    Raises:
        ValueError: If there is no such model; the message lists those there are.
        DamagedModel: If a file is missing or not the one that was shipped.
    """
    if name not in names():
        raise ValueError(f"there is no model {name!r} in the zoo; there are: {', '.join(names()) or 'none'}.")
    return load_folder(SHIPPED / name, dtype=dtype, device=device)


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
    place = Path(folder)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating one, such as torch.float32, got {dtype}.")
    if not (place / CARD).is_file():
        raise ValueError(f"expected a model in {place}, found no {CARD} there.")
    try:
        card = Card.from_json(json.loads((place / CARD).read_bytes()))
        if not (isinstance(card.files, dict) and all(isinstance(each, str) for each in card.files.values())):
            raise ValueError(f"files must map names to hashes, got {card.files!r}.")
        config = TransformerConfig(**card.architecture)
    except (ValueError, TypeError) as error:
        raise DamagedModel(f"{place / CARD} is no model card: {error}") from error
    content = {name: _checked(place / name, card.files) for name in (WEIGHTS, TOKENIZER)}
    try:
        tensors = load_tensors(content[WEIGHTS])
        tokenizer = BPETokenizer.load(place / TOKENIZER)
        model = Transformer(config, generator=torch.Generator().manual_seed(0))
        model.load_state_dict(tensors)
        pretrained = Pretrained(model.eval(), tokenizer, card)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise DamagedModel(f"the files in {place} do not fit its card: {error}") from error
    model.to(device=device, dtype=dtype)
    return pretrained


def save(folder: str | Path, pretrained: Pretrained, *, dtype: torch.dtype = torch.bfloat16) -> Card:
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
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / CARD).unlink(missing_ok=True)  # an old card must not vouch for new files
    weights = {name: weight.to("cpu", dtype) for name, weight in pretrained.model.state_dict().items()}
    (place / WEIGHTS).write_bytes(to_bytes(weights))
    pretrained.tokenizer.save(place / TOKENIZER)
    hashes = {name: _digest((place / name).read_bytes()) for name in (WEIGHTS, TOKENIZER)}
    card = replace(pretrained.card, files=hashes)
    (place / PAGE).write_text(card.markdown(), encoding="utf-8", newline="\n")
    (place / CARD).write_text(json.dumps(card.to_json(), indent=2) + "\n", encoding="utf-8", newline="\n")
    return card


def _checked(path: Path, files: dict[str, str]) -> bytes:
    if path.name not in files:
        raise DamagedModel(f"the card in {path.parent} names no {path.name}.")
    if not path.is_file():
        raise DamagedModel(f"{path} is missing: install the package again, or train the model by its card's recipe.")
    content = path.read_bytes()
    if (found := _digest(content)) != files[path.name]:
        raise DamagedModel(
            f"{path} is not the file its card names (SHA-256 {found[:12]}... instead of {files[path.name][:12]}...): "
            "install the package again, or train the model by its card's recipe."
        )
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
