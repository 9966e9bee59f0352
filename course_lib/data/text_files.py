"""Read files of text into a Hugging Face dataset with a "text" column."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

SampleBy = Literal["line", "paragraph", "document"]

_READERS = {".txt": "text", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}  # suffix: reader in `datasets`


def text_from_files(
    place: Path, *, text_column: str, sample_by: SampleBy = "line", streaming: bool = False
) -> Dataset | IterableDataset:
    """Read ``place``, a file or a folder, as `course_lib.data.from_files` describes it.

    Raises:
        ValueError: If no file fits, several kinds are mixed, one cannot be read, or there is no column of text.
    """
    suffix, files = _files_of_one_kind(place)
    is_plain = _READERS[suffix] == "text"
    if is_plain and text_column != "text":
        raise ValueError(f"text_column is for tables; {place} holds .txt files, whose only column is 'text'.")
    if not is_plain and sample_by != "line":
        raise ValueError(f"sample_by is for .txt files; {place} holds {suffix} files, whose rows are as they stand.")
    import datasets
    from datasets.exceptions import DatasetGenerationError

    options: dict[str, Any] = {"sample_by": sample_by, "encoding": "utf-8-sig"} if is_plain else {}
    options |= {"data_files": [str(path) for path in files], "split": "train", "streaming": streaming}
    try:
        dataset = datasets.load_dataset(_READERS[suffix], **options)
        first: dict[str, Any] = (
            next(iter(dataset), {}) if streaming else {}
        )  # a stream says what it holds when it is read
    except (DatasetGenerationError, OSError, ValueError) as error:
        reason = error.__cause__ or error
        raise ValueError(
            f"cannot read {place} as {suffix} ({type(reason).__name__}: {reason}). "
            "Expected UTF-8 text, and for tables the same columns in every file."
        ) from error
    columns = {name: type(value).__name__ for name, value in first.items()}
    if not streaming:
        columns = {name: getattr(of, "dtype", "lists or records") for name, of in dataset.features.items()}
    if text_column not in columns:
        raise ValueError(
            f"expected a column {text_column!r} in {place}, found {', '.join(columns) or 'no columns'}: "
            "name the one that holds the text with text_column=..."
        )
    if columns[text_column] not in ("string", "large_string", "str"):
        raise ValueError(
            f"column {text_column!r} of {place} holds {columns[text_column]}, expected text: name another with "
            "text_column=..."
        )
    if text_column != "text" and "text" in columns:
        raise ValueError(f"{place} has both a column {text_column!r} and a column 'text': rename or drop one of them.")
    return dataset if text_column == "text" else dataset.rename_column(text_column, "text")


def _files_of_one_kind(place: Path) -> tuple[str, list[Path]]:
    kinds = ", ".join(_READERS)
    everything = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    visible = [path for path in everything if not path.name.startswith(".")]
    files = [path for path in visible if path.suffix.lower() in _READERS]
    counts = Counter(path.suffix.lower() for path in files)
    if not files:
        found = ", ".join(sorted({path.suffix or path.name for path in visible})) or "nothing"
        raise ValueError(f"expected files of text ({kinds}) at {place}, found {found}.")
    if len(counts) > 1:
        found = " and ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
        raise ValueError(f"expected text files of one kind in {place}, found {found}: put each kind in its own folder.")
    if len(files) < len(visible):
        other = next(path for path in visible if path not in files)
        warnings.warn(
            f"left out {len(visible) - len(files)} files that are none of {kinds}, such as {other.name}.", stacklevel=4
        )
    if not any(path.stat().st_size for path in files):
        raise ValueError(f"expected text in {place}, found only empty files: {files[0].name}.")
    return next(iter(counts)), files
