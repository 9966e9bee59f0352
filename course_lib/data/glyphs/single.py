"""One letter or digit an image, with a caption that describes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..examples import Examples
from .captions import glyph_classes, phrases
from .faces import CHARACTERS, FACES, STYLES, Combinations
from .render import render

# Shape letters used in this file: N = images, S = their side in pixels.


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Glyphs:
    """Images of single characters, what they show, and captions that say so.

    Args:
        images: White ink on black.
        characters: Place of the character in ``CHARACTERS``.
        faces: Place of the face in ``FACES``.
        captions: Such as "a bold italic serif R".

    Shape:
        - images: ``(N, 1, S, S)``, float32 in [0, 1], 1 is ink
        - characters: ``(N,)``, int64 from 0 to 35
        - faces: ``(N,)``, int64 from 0 to 21
    """

    images: Tensor
    characters: Tensor
    faces: Tensor
    captions: list[str]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        return f"Glyphs({len(self)} images of {self.images.shape[-1]}x{self.images.shape[-1]})"

    def examples(self, target: Literal["character", "style", "caption"] = "character") -> Examples:
        """Return images with class numbers, in the shape in which every data set of the course arrives.

        Args:
            target: ``"character"`` (36 classes), ``"style"`` (4: regular, bold, italic, bold italic), or
                ``"caption"`` (432, numbered as in ``glyph_classes()``).

        Raises:
            ValueError: If there is no such target.
        """
        if target == "character":
            labels, classes = self.characters, tuple(CHARACTERS)
        elif target == "style":
            style_of_face = torch.tensor([STYLES.index(face.style) for face in FACES])
            labels, classes = style_of_face[self.faces], STYLES
        elif target == "caption":
            classes = tuple(glyph_classes())
            number = {caption: index for index, caption in enumerate(classes)}
            labels = torch.tensor([number[caption] for caption in self.captions], dtype=torch.int64)
        else:
            raise ValueError(f"target must be 'character', 'style' or 'caption', got {target!r}.")
        return Examples(
            x=self.images,
            y=labels,
            classes=classes,
            name=f"glyphs by {target}",
            source="drawn from the fonts that come with matplotlib: DejaVu, STIX General and Computer Modern (BaKoMa)",
            licence="images drawn here; the fonts under the licences of Bitstream Vera and DejaVu, STIX, and BaKoMa, "
            "whose texts come with matplotlib",
        )


def glyphs(
    num: int,
    *,
    seed: int,
    size: int = 28,
    combinations: Combinations = "all",
    characters: str = CHARACTERS,
    faces: Iterable[int] = range(len(FACES)),
    jitter: bool = True,
) -> Glyphs:
    """Draw letters and digits in many faces: a picture and its caption, as many as you like, from a seed.

    A caption names weight, slant, family and character. Several typefaces share a description, so that a caption is
    a kind of picture and not one picture. Every caption that may come is equally likely, then every face that it
    describes. Some combinations of a character with a style (weight and slant) are held out in all families:
    train on ``"seen"`` and test on ``"unseen"``, where every character and every style is known, only not together.
    Draws are independent: without jitter there are 782 different images, and two seeds share them.

    Needs matplotlib and Pillow (extra ``learn``).

    Args:
        num: How many images; the first of many are the same as those of a shorter call.
        seed: Decides which and how they lie; captions are the same on every machine, pixels up to the fonts' version.
        size: Side of the images in pixels, 8 to 256.
        combinations: ``"all"``, or those ``"seen"`` (about 80 %) or ``"unseen"`` (about 20 %) in training.
        characters: Which characters may come.
        faces: Numbers of the faces that may come.
        jitter: Vary scale (0.85 to 1.1), turn (4 degrees at most) and place (5 % of the side at most).

    Shape:
        - images: ``(num, 1, size, size)``, float32 in [0, 1]

    Returns:
        The glyphs. Chance is 1/36 for the character, 1/432 for the caption (1/87 among the unseen ones).

    Raises:
        ValueError: If an argument is out of range, or no combination is left.

    Example:
        >>> some = glyphs(3, seed=0)
        >>> some.captions, some
        (['a bold italic mono M', 'an italic mono L', 'an italic mono U'], Glyphs(3 images of 28x28))
    """
    if num < 0 or seed < 0:
        raise ValueError(f"glyphs needs num and seed of 0 or more, got num={num} and seed={seed}.")
    described = phrases(combinations, characters, faces, family=True)
    names, members = list(described), list(described.values())
    draws = np.random.default_rng(seed).random((num, 6))  # six numbers an image, so that more images change none
    chosen = (draws[:, 0] * len(names)).astype(np.int64)
    pairs = [members[phrase][int(u * len(members[phrase]))] for phrase, u in zip(chosen, draws[:, 1], strict=True)]
    numbers = np.array(pairs, dtype=np.int64).reshape(num, 2)
    return Glyphs(
        images=render(numbers[:, 0], numbers[:, 1], size=size, jitter=draws[:, 2:] if jitter else None),
        characters=torch.from_numpy(numbers[:, 0].copy()),
        faces=torch.from_numpy(numbers[:, 1].copy()),
        captions=[names[phrase] for phrase in chosen],
    )
