"""Documents of any length into windows of one length: every token is learnt from once, none is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ids = npt.NDArray[np.int64]
MASKED = -100  # a target that does not count, as in torch.nn.functional.cross_entropy

# Shape letters used in this file: N = windows, T = context length.


def pack(
    documents: Iterable[Sequence[int] | Ids | Tensor], *, context_length: int, separator: int, mix: bool = True
) -> tuple[Tensor, Tensor]:
    r"""Join documents, each followed by the separator, and cut the stream into windows to train on.

    What is learnt is the stream ``d1 separator d2 separator ...``: ``y`` holds it as it stands, and ``x`` is one
    token behind, with a separator in front. So the model also learns how a document begins (from a separator, which
    is therefore what to prompt it with), and that it ends. A document that is longer than a window goes on in the
    next one. In a window that holds several, attention sees the ones before; GPT-2 and GPT-3 were trained so. Use it
    as ``Batches(pack(...), batch_size=..., seed=...)``.

    Args:
        documents: Token ids, one sequence a document.
        context_length: Tokens a window.
        separator: Id of the token that ends a document.
        mix: False begins a new window with every document, so that no window holds two; the price is padding.

    Shape:
        - x, y: ``(N, T)``, int64; with ``mix`` N is the number of tokens and documents together, over T, rounded up

    Returns:
        ``(x, y)``. Every token of every document, and the separator after each, is a target exactly once. Where a
        window is not full (with ``mix`` only the last can be) ``x`` holds separators and ``y`` -100, which counts
        in no loss.

    Raises:
        ValueError: If there is no document, one is empty, ids are no whole numbers of at least 0, or
            ``context_length`` is less than 1.

    Example:
        >>> x, y = pack([[5, 6, 7], [8, 9]], context_length=4, separator=0)
        >>> print(x, y, sep="\n")
        tensor([[0, 5, 6, 7],
                [0, 8, 9, 0]])
        tensor([[   5,    6,    7,    0],
                [   8,    9,    0, -100]])

    Reference: Brown et al. 2020, *Language Models are Few-Shot Learners*, section 2.3 and appendix B,
    https://arxiv.org/abs/2005.14165
    """
    check_window(context_length, separator)
    parts: list[Ids] = []
    end = np.array([separator], dtype=np.int64)
    for number, document in enumerate(documents):
        parts += (as_ids(document, number), end)
    if not parts:
        raise ValueError("pack needs at least one document, got none.")
    lengths = np.array([len(part) + 1 for part in parts[::2]])  # each with its separator
    targets = np.concatenate(parts)
    if mix:
        x, y = windows(targets, separator, context_length=context_length, separator=separator)
        return torch.from_numpy(x), torch.from_numpy(y)
    room = -(-lengths // context_length) * context_length
    moved = np.repeat(np.cumsum(room) - room - (np.cumsum(lengths) - lengths), lengths)  # how far each document moves
    place = np.arange(len(targets)) + moved
    x, y = np.full(room.sum(), separator), np.full(room.sum(), MASKED)
    x[place], y[place] = np.concatenate([end, targets[:-1]]), targets
    return tuple(torch.from_numpy(flat.reshape(-1, context_length)) for flat in (x, y))  # type: ignore[return-value]


def windows(targets: Ids, first: int, *, context_length: int, separator: int) -> tuple[Ids, Ids]:
    """Cut a stream of targets into windows, as `pack` does with ``mix``; ``first`` is the token before it."""
    num_windows = -(-len(targets) // context_length)
    x, y = (np.full(num_windows * context_length, filler, dtype=np.int64) for filler in (separator, MASKED))
    x[0], x[1 : len(targets)], y[: len(targets)] = first, targets[:-1], targets
    return x.reshape(num_windows, context_length), y.reshape(num_windows, context_length)


def check_window(context_length: int, separator: int) -> None:
    """Refuse a window or a separator that cannot be.

    Raises:
        ValueError: If ``context_length`` is less than 1 or ``separator`` less than 0.
    """
    if context_length < 1:
        raise ValueError(f"context_length must be at least 1 token, got {context_length}.")
    if separator < 0:
        raise ValueError(f"separator must be a token id of 0 or more, got {separator}.")


def as_ids(document: Sequence[int] | Ids | Tensor, number: int) -> Ids:
    """Return the token ids of one document as an array.

    Raises:
        ValueError: If there are none, or they are no whole numbers of at least 0; ``number`` says which document.
    """
    ids = np.asarray(document)
    if ids.ndim == 1 and len(ids) == 0:
        raise ValueError(f"document {number} is empty: leave out documents without tokens.")
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"document {number} must be a sequence of token ids, whole numbers; got {ids.dtype} of shape {ids.shape}. "
            "Encode text first."
        )
    if ids.min() < 0:
        raise ValueError(f"token ids are 0 or more, document {number} holds {ids.min()}.")
    return ids.astype(np.int64, copy=False)
