"""Supervised fine-tuning: conversations as a batch of next-token targets in which only answers count."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.alignment.conversations.template import ChatExample

MASKED = -100  # a target that does not count, as in torch.nn.functional.cross_entropy
_OPEN_ROWS = 100  # the newest rows, in which room is looked for

# Shape letters used in this file: N = conversations, T = tokens of the longest but one.


def chat_batch(
    examples: Sequence[ChatExample], *, length: int | None = None, pad: int = 0, truncate: bool = False
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets for supervised fine-tuning: each answer's tokens are targets, nothing else is.

    Fine-tuning on demonstrations is language modelling whose loss is summed over the answers alone: what users write is
    read, not learnt. So it needs no objective of its own: ``Batches(chat_batch(examples), batch_size=..., seed=...)``
    with `course_lib.loops.next_token`. The mean is over answer tokens, so that a long answer counts for more than a
    short one. Padding stands on the right, where a causal model does not see it.

    Args:
        examples: From `ChatTemplate.encode`. One without a trained token gives a row of which nothing counts.
        length: Columns; None: as many as the longest conversation needs. A fixed number spares a compiled model from
            being compiled anew.
        pad: What ``tokens`` holds behind the end; any id that the model has.
        truncate: Whether to cut conversations that are longer than ``length`` at their end, and say so; otherwise they
            are refused. A cut answer loses its end mark, so that the model learns less about when to stop.

    Shape:
        - tokens, targets: ``(N, T)``, int64; T is ``length``, or one less than the tokens of the longest conversation

    Returns:
        ``(tokens, targets)``; ``targets`` is ``tokens`` one token later where that is learnt, -100 elsewhere. A
        perfect model's loss is the entropy of the demonstrations given their prompts, not 0.

    Raises:
        ValueError: If there is no example, one has fewer than two tokens, ``length`` is below 1 or, without
            ``truncate``, too small.

    Warns:
        UserWarning: If conversations were cut: how many, and how many trained tokens were lost.

    Example:
        >>> tokens, targets = chat_batch([ChatExample([5, 6, 7, 8], [False, False, True, True]),
        ...                               ChatExample([5, 9, 8], [False, False, True])])
        >>> tokens.tolist(), targets.tolist()
        ([[5, 6, 7], [5, 9, 0]], [[-100, 7, 8], [-100, 8, -100]])

    Reference: Ouyang et al. 2022, Training language models to follow instructions with human feedback, section 3.5,
    https://arxiv.org/abs/2203.02155
    """
    _check(examples, length)
    longest = max(len(example.tokens) for example in examples) - 1
    columns = longest if length is None else length
    if longest > columns:
        _too_long(examples, columns, truncate)
    tokens = torch.full((len(examples), columns), pad, dtype=torch.int64)
    targets = torch.full((len(examples), columns), MASKED, dtype=torch.int64)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.tokens[: columns + 1], dtype=torch.int64)
        learnt = torch.tensor(example.trained[1 : columns + 1], dtype=torch.bool)
        tokens[row, : len(ids) - 1] = ids[:-1]
        targets[row, : len(ids) - 1] = ids[1:].masked_fill(~learnt, MASKED)
    return tokens, targets


def pack_chats(examples: Sequence[ChatExample], *, length: int, seed: int = 0) -> list[ChatExample]:
    """Join short conversations into longer ones, so that a batch holds hardly any padding.

    Rows of a batch are as long as its longest conversation; with stories of all lengths half of it is padding, which
    costs as much time as text. Joined, a conversation sees those that stand before it in its row, and the targets are
    the same. None is ever cut. The order is shuffled, because from neighbours that are alike a model learns to copy
    what it will not have before it when it is asked alone: where most answers are alike (refusals, say) and examples
    are few, leave them unpacked.

    Args:
        examples: From `ChatTemplate.encode`.
        length: Columns that the batch is to have: ``chat_batch(pack_chats(examples, length=256, seed=0), length=256)``.
        seed: Of the order.

    Returns:
        Fewer and longer examples, of at most ``length + 1`` tokens each; every conversation comes once, and whole.

    Raises:
        ValueError: If there is no example, or one is longer than ``length + 1`` tokens.

    Example:
        >>> two, three = ChatExample([1, 2], [False, True]), ChatExample([3, 4, 5], [False, True, True])
        >>> rows = pack_chats([two, three], length=4, seed=0)
        >>> rows[0].tokens, len(rows)
        ([3, 4, 5, 1, 2], 1)
    """
    _check(examples, length)
    if max(len(example.tokens) for example in examples) > length + 1:
        _too_long(examples, length, truncate=False)
    rows: list[ChatExample] = []
    for example in random.Random(seed).sample(examples, len(examples)):
        for row in rows[-_OPEN_ROWS:]:
            if len(row.tokens) + len(example.tokens) <= length + 1:
                row.tokens.extend(example.tokens)
                row.trained.extend(example.trained)
                break
        else:
            rows.append(ChatExample(list(example.tokens), list(example.trained)))
    return rows


def _check(examples: Sequence[ChatExample], length: int | None) -> None:
    if len(examples) == 0:
        raise ValueError("there must be at least one example, got none.")
    if short := [row for row, example in enumerate(examples) if len(example.tokens) < 2]:
        raise ValueError(
            f"example {short[0]} has {len(examples[short[0]].tokens)} tokens: with fewer than 2 there is none to guess "
            "from another."
        )
    if length is not None and length < 1:
        raise ValueError(f"length must be at least 1 column, got {length}.")


def _too_long(examples: Sequence[ChatExample], columns: int, truncate: bool) -> None:
    longer = [row for row, example in enumerate(examples) if len(example.tokens) - 1 > columns]
    longest = max(len(examples[row].tokens) for row in longer)
    found = (
        f"{len(longer)} of {len(examples)} conversations do not fit into {columns} columns "
        f"(the first is example {longer[0]}, the longest has {longest} tokens)"
    )
    if not truncate:
        raise ValueError(
            f"{found}: leave them out, give length={longest - 1}, or truncate=True, which loses the ends of answers."
        )
    lost = sum(sum(examples[row].trained[columns + 1 :]) for row in longer)
    warnings.warn(f"{found}: their ends were cut, with {lost} trained tokens.", stacklevel=3)
