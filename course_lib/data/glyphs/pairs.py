"""Two glyphs side by side, with a caption in which the order of the words carries the meaning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .captions import phrases
from .faces import CHARACTERS, FACES, Combinations
from .render import render

# Shape letters used in this file: N = images, S = their height in pixels.


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GlyphPairs:
    """Images of two characters side by side, with a true caption and one that has the same words in another order.

    Args:
        images: White ink on black.
        characters: Places of the left and the right character in ``CHARACTERS``.
        faces: Places of their faces in ``FACES``.
        captions: Such as "a bold R left of an italic S".
        swapped: The caption of the mirrored arrangement: "an italic S left of a bold R". Same words, not true.

    Shape:
        - images: ``(N, 1, S, 2 * S)``, float32 in [0, 1], 1 is ink
        - characters, faces: ``(N, 2)``, int64
    """

    images: Tensor
    characters: Tensor
    faces: Tensor
    captions: list[str]
    swapped: list[str]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        return f"GlyphPairs({len(self)} images of {self.images.shape[-2]}x{self.images.shape[-1]})"


def glyph_pairs(
    num: int,
    *,
    seed: int,
    size: int = 28,
    combinations: Combinations = "all",
    characters: str = CHARACTERS,
    faces: Iterable[int] = range(len(FACES)),
    jitter: bool = True,
) -> GlyphPairs:
    """Draw pairs of glyphs whose captions differ from their mirror images in word order alone.

    A model that reads a caption as a bag of words cannot tell ``captions`` from ``swapped``. Captions name weight,
    slant and character, not the family. The two glyphs of a pair always differ in one of these, so the swapped
    caption is never true. Every ordered pair of descriptions is equally likely.

    Needs matplotlib and Pillow (extra ``learn``).

    Args:
        num: How many pairs; the first of many are the same as those of a shorter call.
        seed: Decides which and how they lie; captions are the same on every machine, pixels up to the fonts' version.
        size: Height of the images in pixels, 8 to 256; they are twice as wide.
        combinations: Which combinations of character and style both glyphs are taken from; see `glyphs`.
        characters: Which characters may come.
        faces: Numbers of the faces that may come.
        jitter: Vary each glyph's scale, turn and place as `glyphs` does.

    Shape:
        - images: ``(num, 1, size, 2 * size)``, float32 in [0, 1]

    Returns:
        The pairs. Choosing between caption and swapped caption, chance is 0.5, and no bag of words can do better.

    Raises:
        ValueError: If an argument is out of range, or fewer than two descriptions are left.

    Example:
        >>> pair = glyph_pairs(1, seed=0)
        >>> pair.captions, pair.swapped
        (['a bold italic 2 left of a bold 4'], ['a bold 4 left of a bold italic 2'])

    Reference: Yuksekgonul et al. 2023, When and why vision-language models behave like bags-of-words,
    https://arxiv.org/abs/2210.01936
    """
    if num < 0 or seed < 0:
        raise ValueError(f"glyph_pairs needs num and seed of 0 or more, got num={num} and seed={seed}.")
    described = phrases(combinations, characters, faces, family=False)
    names, members = list(described), list(described.values())
    if len(names) < 2:
        raise ValueError(f"a pair needs two different glyphs, but all that can come is {names[0]!r}: allow more.")
    draws = np.random.default_rng([seed, 2]).random((num, 2, 6))  # more pairs change none; not the stream of `glyphs`
    left = (draws[:, 0, 0] * len(names)).astype(np.int64)
    right = (draws[:, 1, 0] * (len(names) - 1)).astype(np.int64)
    right += right >= left  # of all the others, each as likely
    chosen = np.stack([left, right], axis=1).ravel()
    flat = draws.reshape(2 * num, 6)
    pairs = [members[phrase][int(u * len(members[phrase]))] for phrase, u in zip(chosen, flat[:, 1], strict=True)]
    numbers = np.array(pairs, dtype=np.int64).reshape(2 * num, 2)
    images = render(numbers[:, 0], numbers[:, 1], size=size, jitter=flat[:, 2:] if jitter else None)
    return GlyphPairs(
        images=torch.cat([images[0::2], images[1::2]], dim=-1),
        characters=torch.from_numpy(numbers[:, 0].reshape(num, 2)),
        faces=torch.from_numpy(numbers[:, 1].reshape(num, 2)),
        captions=[f"{names[a]} left of {names[b]}" for a, b in zip(left, right, strict=True)],
        swapped=[f"{names[b]} left of {names[a]}" for a, b in zip(left, right, strict=True)],
    )
