"""Where the text of a language model comes from, what of it is held out, and what its card must say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from course_lib.data import from_files, from_hub, python_text
from course_lib.data.text_files import SampleBy

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from course_lib.zoo import Pretrained
    from course_lib.zoo.card import Scores

_FEW = 20  # with fewer documents than this the end of each is held out, rather than some of them
_MOST_HELD_OUT = 5000  # documents; more make the estimate no better than it need be
_NUM_STREAM_HELD_OUT = 1000
_SHUFFLE_BUFFER = 10_000  # documents of a stream that are mixed
_OWN_LIMITS = (
    "A base model: it continues text and follows no instructions. It repeats what its data says, right or wrong, and "
    "may recite it. Not checked for anything else."
)


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Documents to learn from and documents held out.

    Args:
        train: Rows with a column ``text``; an ``IterableDataset`` is read while training.
        validation: Rows with a column ``text``.
        data: What it is, in words.
        licence: Under what terms it may be used.
        limits: What a model trained on it cannot do.
        prompts: Beginnings to write samples from; ``""`` is the beginning of a document.
        validation_nats: Minus the log probability of all of ``validation`` under the process that wrote it, where
            that is known: no model can have a smaller loss but by luck.
        pattern: How the tokenizer cuts text into pieces, see `train_bpe`.
        measure: Tells of the finished model how well it does what the text is to teach: how that was measured, in
            words, and the scores, as a `Card` has them.
    """

    train: Dataset | IterableDataset
    validation: Dataset
    data: str
    licence: str
    limits: str
    prompts: tuple[str, ...] = ("", "", "")
    validation_nats: float | None = None
    pattern: str | None = "gpt2"
    measure: Callable[[Pretrained], tuple[str, Scores]] | None = None


def from_python(kind: Literal["all", "docs", "docstrings", "code"] = "all", *, max_bytes: int | None = None) -> Corpus:
    """Return the text of the running Python installation, see `python_text`; ``max_bytes`` of either part at most."""
    import platform

    train = python_text(kind, max_bytes=max_bytes)
    kinds = {"all": "documentation topics and standard library"}.get(kind, kind)
    return Corpus(
        train,
        python_text(kind, split="validation", max_bytes=max_bytes),
        f"{kinds} of Python {platform.python_version()}, {sum(map(len, train['text'])) / 1e6:.1f} million characters; "
        "whole packages and topics are held out",
        "PSF-2.0 (Python Software Foundation)",
        "Writes what looks like Python and its documentation. The code is not correct and the statements are not true: "
        "do not run or rely on either. It follows no instructions, knows nothing but Python's own library, and may "
        "recite passages of it.",
        ("", "def ", "class ", "The "),
    )


def from_tales(num_tales: int, *, seed: int) -> Corpus:
    """Return made-up stories, see `tales`: ``num_tales`` to learn from and a tenth of that, 5,000 at most, held out."""
    from course_lib.data.tales import as_dataset, tales

    held_out = tales(min(5000, max(1, num_tales // 10)), seed=seed, split="evaluation")
    return Corpus(
        as_dataset(tales(num_tales, seed=seed)),
        as_dataset(held_out),
        f"{num_tales:,} short stories drawn from the grammar of course_lib.data.tales, seed {seed}; stories of its "
        "evaluation split are held out",
        "Apache-2.0 (made by this project)",
        "Tells short stories from one grammar and knows no other word of English. Its stories may contradict "
        "themselves. Made for experiments, not for children.",
        ("", "", ""),
        -sum(tale.log_prob for tale in held_out),
    )


def from_path(
    path: str | Path, *, text_column: str = "text", validation_share: float, seed: int, streaming: bool = False
) -> Corpus:
    """Return your own text: a file or a folder, as `course_lib.data.from_files` reads it, a ``.txt`` file a document.

    A single file with another ending than those (``book.md``) is taken as one document too. Of a stream the first
    1,000 documents are held out, whatever the share.

    Raises:
        ValueError: As `from_files`, if ``validation_share`` does not lie between 0 and 1, or if there is too little
            text to hold some out.
    """
    place = Path(path).expanduser()
    name = place.resolve().name
    named = f"{name}, given as a file" if place.is_file() else f"files in {name}"
    rows: Any
    if place.is_file() and place.suffix.lower() not in (".txt", ".jsonl", ".csv", ".parquet"):
        if streaming or text_column != "text":
            raise ValueError(f"{place} is one document: streaming and a column of text do not apply, leave them out.")
        rows = _one_document(place)
    else:
        sample_by: SampleBy = "line" if _is_table(place) else "document"
        rows = from_files(  # type: ignore[call-overload]
            place, kind="text", text_column=text_column, sample_by=sample_by, streaming=streaming
        )
    return _split(rows, named, "not stated: that of the files", validation_share=validation_share, seed=seed)


def from_name(
    name: str, *, config: str | None, text_column: str, validation_share: float, seed: int, streaming: bool = False
) -> Corpus:
    """Return a public data set, as `course_lib.data.from_hub` loads it.

    Raises:
        HubUnavailable: If it cannot be reached.
        ValueError: If it has no such column, ``validation_share`` does not lie between 0 and 1, or there is too little
            text to hold some out.
    """
    rows: Any = from_hub(name, config=config, streaming=streaming)  # type: ignore[call-overload]
    columns = list(rows.column_names or next(iter(rows)))
    if text_column not in columns:
        raise ValueError(f"{name} has no column {text_column!r}, it has {', '.join(columns)}: name one of them.")
    if text_column != "text":
        rows = rows.remove_columns([each for each in columns if each == "text"]).rename_column(text_column, "text")
    licence = (rows.info.license if rows.info else "") or "see the data set's own card"
    return _split(rows, name, licence, validation_share=validation_share, seed=seed)


def _split(rows: Any, data: str, licence: str, *, validation_share: float, seed: int) -> Corpus:
    if not 0 < validation_share < 1:
        raise ValueError(f"the share held out must lie between 0 and 1, got {validation_share}.")
    import datasets

    rows = rows.filter(lambda some: [bool(text and text.strip()) for text in some["text"]], batched=True)
    if isinstance(rows, datasets.IterableDataset):
        first = list(rows.take(_NUM_STREAM_HELD_OUT + 1))
        if len(first) <= _NUM_STREAM_HELD_OUT:
            raise ValueError(
                f"{data} has {len(first)} documents, the first {_NUM_STREAM_HELD_OUT:,} of a stream are held out, "
                "which leaves none to learn from: read it without streaming."
            )
        held_out = datasets.Dataset.from_list(first[:-1])
        return Corpus(
            rows.skip(len(held_out)).shuffle(seed=seed, buffer_size=_SHUFFLE_BUFFER),
            held_out,
            f"{data}, streamed; the first {len(held_out):,} documents are held out",
            licence,
            _OWN_LIMITS,
        )
    if not len(rows):
        raise ValueError(f"there is no text in {data}: every document is empty.")
    if len(rows) >= _FEW:
        num_held_out = min(_MOST_HELD_OUT, max(1, round(validation_share * len(rows))))
        parts = rows.train_test_split(test_size=num_held_out, seed=seed)
        how = f"{len(parts['test']):,} of {len(rows):,} documents are held out"
        return Corpus(parts["train"], parts["test"], f"{data}; {how}", licence, _OWN_LIMITS)
    cuts = [(text, round(len(text) * (1 - validation_share))) for text in rows["text"]]
    begun, ended = [text[:cut] for text, cut in cuts if cut], [text[cut:] for text, cut in cuts if cut < len(text)]
    if not (begun and ended):
        raise ValueError(
            f"the text in {data} is too short: a share of {validation_share} held out leaves nothing to "
            f"{'validate on' if begun else 'learn from'}. Give more text or another share."
        )
    return Corpus(
        datasets.Dataset.from_dict({"text": begun}),
        datasets.Dataset.from_dict({"text": ended}),
        f"{data}; the last {validation_share:.0%} of each document are held out",
        licence,
        _OWN_LIMITS,
    )


def _is_table(place: Path) -> bool:
    files = [place] if place.is_file() else place.rglob("*")
    return any(file.suffix.lower() in (".jsonl", ".csv", ".parquet") for file in files)


def _one_document(place: Path) -> Dataset:
    import datasets

    try:
        text = place.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} is not UTF-8 text ({error}): save it as such.") from error
    return datasets.Dataset.from_dict({"text": [text]})
