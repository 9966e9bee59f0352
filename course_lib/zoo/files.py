"""The files of a model's folder: written with the card last, and checked byte by byte when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEIGHTS, TOKENIZER, CARD, PAGE = "weights.safetensors", "tokenizer.json", "card.json", "README.md"
SHIPPED = Path(__file__).parent / "weights"
LANGUAGE_MODEL, REWARD_MODEL = "language model", "reward model"
CLASSIFIER, GENERATOR = "classifier", "generator"
LOADERS = {
    LANGUAGE_MODEL: "load",
    REWARD_MODEL: "load_reward_model",
    CLASSIFIER: "load_classifier",
    GENERATOR: "load_generator",
}


class DamagedModel(RuntimeError):
    """A model's files are not those that its card names; the message says which."""


def names(kind: str | None = None) -> list[str]:
    """Return the names of the models that come with the course.

    Args:
        kind: Only those of one kind: ``"language model"``, ``"reward model"``, ``"classifier"`` or ``"generator"``.
    """
    found = sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))
    return found if kind is None else [name for name in found if _kind(SHIPPED / name) == kind]


def shipped(name: str, kind: str) -> Path:
    """Return the folder of a model that comes with the course.

    Args:
        name: One of `names`.
        kind: What it must be.

    Raises:
        ValueError: If there is no such model, or it is of another kind; the message says what there is.
    """
    if name not in names():
        raise ValueError(f"there is no model {name!r} in the zoo; there are: {', '.join(names(kind)) or 'none'}.")
    if (found := _kind(SHIPPED / name)) != kind:
        raise ValueError(f"{name!r} is a {found}: load it with course_lib.zoo.{LOADERS[found]}.")
    return SHIPPED / name


def card_in(folder: Path) -> dict[str, Any]:
    """Return the content of the card in ``folder``.

    Raises:
        ValueError: If there is none.
        DamagedModel: If it is not JSON, or names no hashes.
    """
    path = folder / CARD
    if not path.is_file():
        raise ValueError(f"expected a model in {folder}, found no {CARD} there.")
    try:
        content: dict[str, Any] = dict(json.loads(path.read_bytes()))
        files = content.get("files", {})
        if not (isinstance(files, dict) and all(isinstance(each, str) for each in files.values())):
            raise ValueError(f"files must map names to hashes, got {files!r}.")
    except (ValueError, TypeError) as error:
        raise DamagedModel(f"{path} is no model card: {error}") from error
    return content


def checked(path: Path, files: Mapping[str, str]) -> bytes:
    """Return the content of a file whose hash is on the card.

    Raises:
        DamagedModel: If it is missing, or another one.
    """
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


def without_card(folder: str | Path) -> Path:
    """Return ``folder``, made if it is not there, and free of a card: an old one must not vouch for new files."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / CARD).unlink(missing_ok=True)
    return place


def write_card(place: Path, content: dict[str, Any], page: str) -> None:
    """Write the card, as JSON and as a page, which is the last thing to do to a folder."""
    (place / PAGE).write_text(page, encoding="utf-8", newline="\n")
    (place / CARD).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return _digest(path.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kind(folder: Path) -> str:
    return str(card_in(folder).get("kind", LANGUAGE_MODEL))
