"""A corpus as a language model sees it: a tokenizer for it, and windows of token ids."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from course_lib.data import Batches, PackedStream, pack
from course_lib.recipes.corpus import Corpus
from course_lib.recipes.settings import Settings
from course_lib.tokenization import BPETokenizer, train_bpe
from course_lib.zoo.pretrained import END_OF_TEXT

_TOKENIZER_BYTES = 10_000_000  # of text; merges learnt from more hardly differ
_ON_DEVICE_BYTES = 2**31  # windows up to this size live on the device, larger sets in memory
_IN_MEMORY_TOKENS = 200_000_000  # 3.2 GB of windows; more are read from disk while training


@dataclass(frozen=True, slots=True)
class Tokens:
    """A corpus in token ids.

    Args:
        train: Batches of windows, for ever.
        validation: All windows held out, ``(x, y)``. Each document begins a window here: where windows cut stories in
            two, the second half cannot be understood, by no fault of the model.
        num_train: Tokens to learn from, None for a stream.
        num_validation_bytes: UTF-8 bytes of the text held out.
        separator: Id of the token that ends a document.
    """

    train: Batches | PackedStream
    validation: tuple[Tensor, Tensor]
    num_train: int | None
    num_validation_bytes: int
    separator: int

    def stream(self, limit: int) -> npt.NDArray[np.int64]:
        """Return the first ``limit`` training tokens, each once, one after another, separators included."""
        if isinstance(self.train, Batches):
            return _targets(self.train.tensors[1].cpu())[:limit]
        parts: list[npt.NDArray[np.int64]] = []
        missing = limit
        for _, y in replace(self.train, epochs=1, rank=0, world_size=1):
            parts.append(_targets(y))
            missing -= len(parts[-1])
            if missing <= 0:
                break
        return np.concatenate(parts)[:limit]

    def held_out(self) -> npt.NDArray[np.int64]:
        """Return all tokens held out one after another, separators included."""
        return _targets(self.validation[1])

    def digest(self) -> str:
        """Return a hash that changes with the data; that of a stream sees only what is held out."""
        sums = hashlib.sha256(self.held_out().tobytes())
        if isinstance(self.train, Batches):
            sums.update(self.train.tensors[0].cpu().numpy().tobytes())
        return sums.hexdigest()


def tokenizer_for(corpus: Corpus, path: Path, *, vocab_size: int) -> BPETokenizer:
    """Return the tokenizer in ``path``; if there is none, train one on the beginning of the corpus and save it there.

    Raises:
        ValueError: If the file is damaged, there is no text, or ``vocab_size`` is too small.
    """
    if path.exists():
        return BPETokenizer.load(path)
    texts = (row["text"] for row in corpus.train)
    tokenizer = train_bpe(
        _beginning(texts), vocab_size=vocab_size, special_tokens=[END_OF_TEXT], pattern=corpus.pattern
    )
    unfinished = path.with_name(f".{path.name}.saving")  # a kill while saving must not leave half a tokenizer
    tokenizer.save(unfinished)
    os.replace(unfinished, path)
    return tokenizer


def _beginning(texts: Iterable[str]) -> Iterator[str]:
    room = _TOKENIZER_BYTES
    for text in texts:
        yield text[:room]
        room -= len(text.encode())
        if room <= 0:
            return


def tokenise(
    corpus: Corpus,
    tokenizer: BPETokenizer,
    settings: Settings,
    *,
    device: str | torch.device = "cpu",
    num_workers: int | None = None,
) -> Tokens:
    """Turn the documents of ``corpus`` into packed windows.

    What fits into memory is shuffled window by window, what lies on disk document by document, and a stream comes
    as it does.

    Args:
        corpus: Its rows go through ``map`` of ``datasets``; where they lie on disk, so do their tokens.
        tokenizer: Has the special token ``<|endoftext|>``, which ends each document.
        settings: Context length, batch size and seed.
        device: Where windows are put, if they are not too many.
        num_workers: Processes that tokenise.

    Raises:
        ValueError: If there are fewer windows than make a batch.
    """
    import datasets

    separator = tokenizer.special[END_OF_TEXT]
    length = settings.context_length

    def encode(rows: dict[str, list[str]]) -> dict[str, list[Any]]:
        ids = list(tokenizer.encode_many(rows["text"], special="text"))
        return {"ids": ids, "num_ids": [len(each) for each in ids]}

    def encoded(rows: datasets.Dataset) -> datasets.Dataset:
        return rows.map(
            encode, batched=True, batch_size=100, num_proc=num_workers, remove_columns=rows.column_names
        ).with_format("numpy")

    def packed(rows: datasets.Dataset, *, mix: bool) -> tuple[Tensor, Tensor]:
        return pack((row["ids"] for row in rows), context_length=length, separator=separator, mix=mix)

    def streamed(rows: datasets.Dataset | datasets.IterableDataset) -> PackedStream:
        size = settings.batch_size
        return PackedStream(rows, context_length=length, separator=separator, batch_size=size, epochs=None)

    validation = packed(encoded(corpus.validation), mix=False)
    num_bytes = sum(len(text.encode()) for text in corpus.validation["text"])
    if isinstance(corpus.train, datasets.IterableDataset):
        stream = corpus.train.map(encode, batched=True, batch_size=100, remove_columns=["text"])
        return Tokens(streamed(stream), validation, None, num_bytes, separator)
    rows = encoded(corpus.train)
    num_train = int(sum(rows["num_ids"])) + len(rows)
    if num_train > _IN_MEMORY_TOKENS:
        return Tokens(streamed(rows.shuffle(seed=settings.seed)), validation, num_train, num_bytes, separator)
    x, y = packed(rows, mix=True)
    if len(x) < settings.batch_size:
        raise ValueError(
            f"the text makes {len(x)} windows of {settings.context_length} tokens, a batch takes "
            f"{settings.batch_size}: give more text, or a smaller batch_size or context_length."
        )
    if 2 * x.nbytes <= _ON_DEVICE_BYTES:
        x, y = x.to(device), y.to(device)
    train = Batches((x, y), batch_size=settings.batch_size, seed=settings.seed, drop_last=True)
    return Tokens(train, validation, num_train, num_bytes, separator)


def _targets(y: Tensor) -> npt.NDArray[np.int64]:
    flat = y.flatten().numpy()
    return flat[flat >= 0]
