"""Draw glyphs: each once with Pillow, large and centred, then moved, turned and shrunk to its size with torch."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .faces import CHARACTERS, FACES

if TYPE_CHECKING:
    from PIL import ImageFont

# Shape letters used in this file: N = images, S = side of a drawing before it is shrunk.

_CAP_HEIGHT = 0.6  # of a capital H, as a share of the image's side
_LARGEST = 0.7  # of any glyph's width and height; with the jitter below, none leaves the image
_SCALE = (0.85, 1.1)
_TURN = math.radians(4)  # well below the slant of an italic, 10 to 14 degrees
_SHIFT = 0.05  # as a share of the image's side
_FINE = 96  # pixels on a side below which a drawing is too coarse to be centred well
_AT_ONCE = 256  # images, so that drawings in work stay within some megabytes
SMALLEST, BIGGEST = 8, 256


def render(
    characters: npt.NDArray[np.int64],
    faces: npt.NDArray[np.int64],
    *,
    size: int,
    jitter: npt.NDArray[np.float64] | None,
) -> Tensor:
    """Draw one glyph an image: white on black, as tall as its face's capitals ask for, its ink centred.

    Args:
        characters: Numbers of the characters.
        faces: Numbers of the faces.
        size: Side of the images in pixels.
        jitter: Numbers in [0, 1) that decide on scale, turn and the shifts to the right and down; ``None`` for none.

    Shape:
        - characters, faces: ``(N,)``
        - jitter: ``(N, 4)``
        - output: ``(N, 1, size, size)``, float32 in [0, 1], 1 is ink

    Raises:
        ValueError: If ``size`` is not from 8 to 256.
    """
    if not SMALLEST <= size <= BIGGEST:
        raise ValueError(f"size must be from {SMALLEST} to {BIGGEST} pixels, got {size}.")
    shrink = max(1, min(BIGGEST // size, max(3, _FINE // size)))  # from 3 times as large, if that is not too large
    images = torch.empty(len(characters), 1, size, size, dtype=torch.float32, device="cpu")  # whatever the defaults
    for first in range(0, len(characters), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        drawings = np.stack(
            [_drawing(int(c), int(f), shrink * size) for c, f in zip(characters[rows], faces[rows], strict=True)]
        )
        large = torch.from_numpy(drawings).unsqueeze(1).float().div_(255)
        if jitter is not None:
            large = _move(large, torch.from_numpy(jitter[rows]))
        images[rows] = F.avg_pool2d(large, shrink)
    return images.clamp_(0, 1)  # averages of ones may exceed 1 by a rounding


def _move(large: Tensor, jitter: Tensor) -> Tensor:
    """Scale, turn and shift each drawing, by looking up where each of its new pixels comes from."""
    scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * jitter[:, 0]
    turn = _TURN * (2 * jitter[:, 1] - 1)
    shift = 2 * _SHIFT * (2 * jitter[:, 2:] - 1)  # torch's grids count from -1 to 1, so a side is 2 long
    cos, sin = torch.cos(turn) / scale, torch.sin(turn) / scale
    back = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    theta = torch.cat([back, -back @ shift.unsqueeze(-1)], -1).float()
    with torch.autocast("cpu", enabled=False):
        grid = F.affine_grid(theta, list(large.shape), align_corners=False)
        return F.grid_sample(large, grid, align_corners=False)


@lru_cache(maxsize=1024)  # all 782 of one size: 6 MB for 28 pixels, 52 MB at most
def _drawing(character: int, face: int, side: int) -> npt.NDArray[np.uint8]:
    """Draw one glyph without jitter. ``(S, S)``, 255 is ink."""
    ink = _ink(CHARACTERS[character], face, _CAP_HEIGHT * side / _cap_height(face))
    too_large = max(ink.shape) / (_LARGEST * side)
    if too_large > 1:
        ink = _ink(CHARACTERS[character], face, _CAP_HEIGHT * side / _cap_height(face) / too_large)
    drawing = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - ink.shape[0]) // 2, (side - ink.shape[1]) // 2
    drawing[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return drawing


@lru_cache(maxsize=len(FACES))
def _cap_height(face: int) -> float:
    """Return how tall a capital H is when the font's size is 1."""
    return float(_ink("H", face, 256.0).shape[0] / 256)


def _ink(character: str, face: int, points: float) -> npt.NDArray[np.uint8]:
    """Draw a character at a font size in pixels, cropped to its ink."""
    from PIL import Image, ImageDraw

    room = math.ceil(points)
    canvas = Image.new("L", (3 * room, 3 * room))
    ImageDraw.Draw(canvas).text((room, 2 * room), character, fill=255, font=_font(face, points), anchor="ls")
    return np.asarray(canvas.crop(canvas.getbbox()))


def _font(face: int, points: float) -> ImageFont.FreeTypeFont:
    import matplotlib
    from PIL import ImageFont

    path = f"{matplotlib.get_data_path()}/fonts/ttf/{FACES[face].file}.ttf"
    return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)
