"""Small images with what is asked of them: what is learnt from, what is held out, and what a card must say of both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from course_lib.data import Examples, digits, mnist_small, split

Source = Literal["digits", "mnist_small", "glyphs"]
HELD_OUT = 0.2  # of digits and mnist_small
_TEST_GLYPHS = 4000
_OFTEN = "Knows nothing but such images, and gives every other image some class or other. Made for experiments."


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """Images to learn from and images held out, with one or more labels each.

    Args:
        train: Images and labels to learn from.
        test: Images and labels held out.
        classes: Question -> names of its classes; column i of the labels answers question i.
        data: What it is, in words.
        licence: Under what terms it may be used.

    Shape:
        - train, test: images ``(N, 1, S, S)``, float32 in [0, 1]; labels ``(N, Q)``, int64
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: dict[str, list[str]]
    data: str
    licence: str
    limits: str = _OFTEN

    @property
    def image_size(self) -> int:
        """S."""
        return int(self.train[0].shape[-1])

    def digest(self) -> str:
        """Return a hash that changes with the data."""
        sums = hashlib.sha256()
        for tensor in (*self.train, *self.test):
            sums.update(tensor.numpy().tobytes())
        return sums.hexdigest()


def image_data(source: Source, *, num_glyphs: int = 40_000, seed: int = 0) -> ImageData:
    """Return the images of ``source``.

    Of ``digits`` and ``mnist_small`` a fifth is held out, always the same: ``split(digits(), (0.8, 0.2), seed=0)``.
    Of ``glyphs`` any number can be drawn; those held out are other draws of the same characters and faces.

    Args:
        source: Which images.
        num_glyphs: How many glyphs to learn from.
        seed: Of the glyphs to learn from; those held out have the next one.

    Raises:
        ValueError: If there is no such source, or ``num_glyphs`` is less than 1.
    """
    if source == "glyphs":
        return _glyphs(num_glyphs, seed)
    if source not in get_args(Source):
        raise ValueError(f"data must be one of {', '.join(get_args(Source))}, got {source!r}.")
    whole = digits() if source == "digits" else mnist_small()
    train, test = split(whole, (1 - HELD_OUT, HELD_OUT), seed=0)
    return ImageData(
        _columns(train),
        _columns(test),
        {"digit": list(whole.classes)},
        f"{whole.source}; {len(train):,} images, {len(test):,} more are held out",
        whole.licence,
    )


def _glyphs(num: int, seed: int) -> ImageData:
    from course_lib.data.glyphs import CHARACTERS, FACES, glyphs

    if num < 1:
        raise ValueError(f"the number of glyphs must be at least 1, got {num}.")
    train, test = glyphs(num, seed=seed), glyphs(_TEST_GLYPHS, seed=seed + 1)
    about = train.examples()
    return ImageData(
        (train.images, torch.stack([train.characters, train.faces], dim=1)),
        (test.images, torch.stack([test.characters, test.faces], dim=1)),
        {
            "character": list(CHARACTERS),
            "face": [f"{face.typeface} {face.style}" for face in FACES],
        },
        f"{num:,} glyphs of course_lib.data.glyphs, seed {seed}, {about.source}; {_TEST_GLYPHS:,} with seed {seed + 1} "
        "are held out, other draws of the same characters and faces",
        about.licence,
    )


def _columns(examples: Examples) -> tuple[Tensor, Tensor]:
    return examples.x, examples.y[:, None]
