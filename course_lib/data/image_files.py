"""Read a folder of images, one sub-folder a class."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .examples import Examples

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_LAYOUT = "expected one folder a class with images in it, such as cat/1.png and dog/2.png"


def images_from_folder(
    folder: Path, *, image_size: tuple[int, int] | None, colour: Literal["grey", "rgb"] | None
) -> Examples:
    """Read ``folder`` as `course_lib.data.from_files` describes it.

    Raises:
        ValueError: If the layout is another, a file cannot be read, or sizes differ without ``image_size``.
    """
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        raise ValueError(f"image_size must be (height, width) with both at least 1, got {image_size}.")
    if colour not in (None, "grey", "rgb"):
        raise ValueError(f"colour must be 'grey', 'rgb' or None, got {colour!r}.")
    paths = _paths_by_class(folder)
    pixels = [_read(path, image_size, colour) for files in paths.values() for path in files]
    sizes = Counter((image.shape[1], image.shape[2]) for image in pixels)
    if len(sizes) > 1:
        some = ", ".join(f"{height}x{width} ({count})" for (height, width), count in sizes.most_common(3))
        raise ValueError(
            f"images in {folder} have {len(sizes)} sizes, height x width: {some}. "
            "Give image_size=(height, width) to resize them all."
        )
    channels = max(len(image) for image in pixels)
    x = torch.stack([image.expand(channels, -1, -1) for image in pixels])  # grey among coloured: three equal channels
    y = torch.arange(len(paths)).repeat_interleave(torch.tensor([len(files) for files in paths.values()]))
    return Examples(
        x=x.to(torch.float32).div(255),
        y=y,
        classes=tuple(paths),
        name=folder.resolve().name,
        source=f"image files in {folder}",
        licence="not stated: that of the files",
    )


def _paths_by_class(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise ValueError(f"{_LAYOUT}, got the file {folder}; give the folder above the classes.")
    loose = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in _SUFFIXES]
    if loose:
        raise ValueError(
            f"{_LAYOUT}; found {len(loose)} images directly in {folder}, such as {loose[0].name}: "
            "move each into a folder named after its class."
        )
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    for group in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in group.rglob("*") if path.is_file() and not path.name.startswith("."))
        found[group.name] = [path for path in files if path.suffix.lower() in _SUFFIXES]
        others += [path for path in files if path.suffix.lower() not in _SUFFIXES]
    if not found:
        raise ValueError(f"{_LAYOUT}; {folder} has no folders in it.")
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise ValueError(
            f"{_LAYOUT}; found no image in the folder {empty[0]!r} of {folder} "
            f"(looked for {', '.join(_SUFFIXES)}): add images, or remove the folder."
        )
    if others:
        warnings.warn(
            f"left out {len(others)} files that are no images, such as {others[0].relative_to(folder)}.", stacklevel=4
        )
    return found


def _read(path: Path, image_size: tuple[int, int] | None, colour: Literal["grey", "rgb"] | None) -> Tensor:
    """Return one image as uint8 pixels, (C, height, width)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {path} ({error}): repair or remove it.") from error
    if image.mode.startswith(("I", "F")):  # PIL would cut these values off at 255 rather than scale them
        raise ValueError(f"{path} has more than 8 bits a pixel (PIL mode {image.mode}): save it with 8 bits a channel.")
    is_grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if (colour == "grey" or (colour is None and is_grey)) else "RGB")
    if image_size is not None:
        image = image.resize((image_size[1], image_size[0]), Image.Resampling.BILINEAR)
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())
