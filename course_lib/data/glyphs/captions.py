"""What captions say, which of them there are, and how they become numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .faces import CHARACTERS, FACES, FAMILIES, Combinations, belongs

# Shape letters used in this file: N = captions, L = words of a caption.

CAPTION_WORDS: tuple[str, ...] = ("", "a", "an", "bold", "italic", *FAMILIES, "left", "of", *CHARACTERS)

_NUMBERS = {word: number for number, word in enumerate(CAPTION_WORDS) if word}
_AFTER_AN = frozenset(["italic", *"8AEFHILMNORSX"])  # words that begin with the sound of a vowel


def phrases(
    combinations: Combinations, characters: str, faces: Iterable[int], *, family: bool
) -> dict[str, list[tuple[int, int]]]:
    """Return each phrase, such as "an italic serif R", with the (character, face) numbers that it describes.

    Several typefaces may share one description, so a phrase is a class with more than one look. The order depends
    on what is asked for alone: character by character, and in the order of ``FACES``.

    Args:
        combinations: Which combinations of character and style may come.
        characters: Which characters.
        faces: Numbers of the faces.
        family: Say the family as well; without it there are fewer phrases, with more faces each.

    Raises:
        ValueError: If there is no such character, face or combination.
    """
    wrong_characters = sorted(set(characters) - set(CHARACTERS))
    if wrong_characters:
        raise ValueError(f"characters must be some of {CHARACTERS!r}, got {wrong_characters} in {characters!r}.")
    numbers = sorted(set(faces))
    if any(number not in range(len(FACES)) for number in numbers):
        raise ValueError(f"faces must be numbers from 0 to {len(FACES) - 1}, got {numbers}.")
    found: dict[str, list[tuple[int, int]]] = {}
    for character in sorted(set(characters)):
        for number in numbers:
            face = FACES[number]
            if belongs(combinations, character, face):
                adjectives = face.description if family else face.description.removesuffix(face.family).strip()
                phrase = f"{adjectives} {character}".strip()
                article = "an" if phrase.split()[0] in _AFTER_AN else "a"
                found.setdefault(f"{article} {phrase}", []).append((CHARACTERS.index(character), number))
    if not found:
        raise ValueError(
            f"no {combinations!r} combination has one of the characters {characters!r} in one of the faces {numbers}: "
            "take more characters, more faces, or combinations='all'."
        )
    return found


def glyph_classes(combinations: Combinations = "all") -> list[str]:
    """Return every caption that `glyphs` can give: the candidates that zero-shot classification chooses from.

    Args:
        combinations: ``"all"``, only those ``"seen"`` in training, or only the ``"unseen"`` ones.

    Returns:
        432 captions (345 seen, 87 unseen), always in the same order.

    Raises:
        ValueError: If ``combinations`` is none of the three.

    Example:
        >>> glyph_classes("unseen")[:3], len(glyph_classes())
        (['a sans 0', 'a serif 0', 'a mono 0'], 432)
    """
    return list(phrases(combinations, CHARACTERS, range(len(FACES)), family=True))


def encode_captions(captions: Sequence[str], *, length: int | None = None) -> Tensor:
    """Turn captions into the numbers of their words, padded with 0 at the end.

    The vocabulary ``CAPTION_WORDS`` is closed: 45 words, of which 36 are characters, and the padding. Case counts:
    "a" is the article, "A" the letter.

    Args:
        captions: Such as "a bold serif R" and "a bold R left of an italic S".
        length: Columns of the result; by default as many as the longest caption has words. 5 are enough for
            `glyphs` and 10 for `glyph_pairs`.

    Shape:
        - output: ``(N, L)``, int64, below ``len(CAPTION_WORDS)``

    Raises:
        ValueError: If a word is not in the vocabulary, a caption is empty or longer than ``length``, or ``captions``
            is one string.

    Example:
        >>> encode_captions(["a sans 8", "an italic serif 8"])
        tensor([[ 1,  5, 18,  0],
                [ 2,  4,  6, 18]])
    """
    if isinstance(captions, str):
        raise ValueError(f"encode_captions needs a list of captions, got one string: write [{captions!r}].")
    sentences = [caption.split() for caption in captions]
    for caption, words in zip(captions, sentences, strict=True):
        unknown = [word for word in words if word not in _NUMBERS]
        if unknown or not words:
            raise ValueError(
                f"the caption {caption!r} has {f'the unknown words {unknown}' if unknown else 'no words'}; captions "
                f"are written with {', '.join(CAPTION_WORDS[1 : -len(CHARACTERS)])}, digits and capital letters."
            )
    longest = max((len(words) for words in sentences), default=0)
    columns = longest if length is None else length
    if longest > columns:
        raise ValueError(f"the longest caption has {longest} words, more than length={length}.")
    rows = [[_NUMBERS[word] for word in words] + [0] * (columns - len(words)) for words in sentences]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), columns)
