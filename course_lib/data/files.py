"""Your own data: a folder of images, or files of text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, overload

from .examples import Examples
from .image_files import images_from_folder
from .text_files import SampleBy, text_from_files

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


@overload
def from_files(
    path: str | Path,
    *,
    kind: Literal["images"],
    image_size: tuple[int, int] | None = None,
    colour: Literal["grey", "rgb"] | None = None,
) -> Examples: ...


@overload
def from_files(
    path: str | Path,
    *,
    kind: Literal["text"],
    text_column: str = "text",
    sample_by: SampleBy = "line",
    streaming: Literal[False] = False,
) -> Dataset: ...


@overload
def from_files(
    path: str | Path,
    *,
    kind: Literal["text"],
    text_column: str = "text",
    sample_by: SampleBy = "line",
    streaming: Literal[True],
) -> IterableDataset: ...


def from_files(
    path: str | Path,
    *,
    kind: Literal["images", "text"],
    image_size: tuple[int, int] | None = None,
    colour: Literal["grey", "rgb"] | None = None,
    text_column: str = "text",
    sample_by: SampleBy = "line",
    streaming: bool = False,
) -> Examples | Dataset | IterableDataset:
    """Read your own images or text.

    Images lie in one folder a class, ``path/cat/1.png``, ``path/dog/7.jpg``, at any depth below; the folders'
    names in alphabetical order are classes 0, 1, .... Photos are turned as their camera noted, transparent
    pixels become white, and a resized image is stretched to the new size, not cropped. All of them are held in
    memory.

    Text is one file or a folder of files of **one** kind, at any depth: ``.txt`` (a row a line, as ``datasets``
    does it, empty lines included), ``.jsonl``, ``.csv`` or ``.parquet`` (with a column of text). What comes back
    is at home in ``datasets``: ``map`` makes tokens of it, ``to_parquet(path)`` writes it down, and this function
    reads that again. More text than memory holds is streamed, see `PackedStream`. Needs Pillow or ``datasets``
    (extra ``learn``).

    Args:
        path: The folder, or for text also a single file.
        kind: What is in it.
        image_size: ``(height, width)`` to resize every image to; by default all must be of one size.
        colour: One channel or three; by default three as soon as one image is in colour.
        text_column: For tables: the column that holds the text; it is renamed to ``text``.
        sample_by: For ``.txt``: what is a row, a line, a paragraph (up to an empty line) or a whole file.
        streaming: For text: read rows while iterating, rather than copy all of them into the local cache first.
            What cannot be read further on than the first rows is found out then.

    Shape:
        - images: x ``(N, C, height, width)``, float32 in [0, 1], C = 1 or 3; y ``(N,)``, int64

    Returns:
        ``Examples`` for images; a Hugging Face ``datasets.Dataset`` (``IterableDataset`` when streaming) with a
        ``text`` column for text.

    Raises:
        ValueError: If nothing fitting is there, a file cannot be read (it is named), sizes differ, or there is no
            column of text (those there are, are named).

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for shade, name in ((0, "night"), (255, "day")):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new("L", (4, 3), shade).save(Path(folder) / name / "1.png")
        ...     sky = from_files(folder, kind="images")
        >>> sky.classes, sky.x.shape, sky.x.amax(dim=(1, 2, 3))
        (('day', 'night'), torch.Size([2, 1, 3, 4]), tensor([1., 0.]))
    """
    if kind not in ("images", "text"):
        raise ValueError(f"kind must be 'images' or 'text', got {kind!r}.")
    if kind == "text" and (image_size is not None or colour is not None):
        raise ValueError("image_size and colour are for kind='images'; leave them out for text.")
    if kind == "images" and (text_column != "text" or sample_by != "line" or streaming):
        raise ValueError("each of text_column, sample_by and streaming is for kind='text'; leave it out for images.")
    if sample_by not in get_args(SampleBy):
        raise ValueError(f"sample_by must be one of {', '.join(get_args(SampleBy))}, got {sample_by!r}.")
    place = Path(path).expanduser()
    if not place.exists():
        raise ValueError(f"expected a folder{' or a file' if kind == 'text' else ''} at {place}, found nothing there.")
    if kind == "images":
        return images_from_folder(place, image_size=image_size, colour=colour)
    return text_from_files(place, text_column=text_column, sample_by=sample_by, streaming=streaming)
