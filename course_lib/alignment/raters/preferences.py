"""Preference data: pairs of completions of one prompt, and which of the two was preferred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_lib.alignment.raters.rater import SimulatedRater
from course_lib.alignment.tokens.rollouts import pack_completions

# Shape letters used in this file: N = pairs, T = tokens of the longest prompt with its completion.

Ids = list[int]


class PreferenceBatch(NamedTuple):
    """Pairs as tensors; a tuple, so that ``course_lib.data.Batches`` can deal them out.

    Attributes:
        chosen: Prompt and preferred completion, then padding.
        chosen_mask: True for the tokens of both, False for padding.
        chosen_completion: True for the completion's tokens alone.
        rejected: The same of the other completion.
        rejected_mask: See ``chosen_mask``.
        rejected_completion: See ``chosen_completion``.

    Shape:
        - chosen, rejected: ``(N, T)``, int64; the others: bool
    """

    chosen: Tensor
    chosen_mask: Tensor
    chosen_completion: Tensor
    rejected: Tensor
    rejected_mask: Tensor
    rejected_completion: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """Comparisons that were answered, in token ids of any lengths.

    Args:
        prompts: What was to be gone on from.
        chosen: The completions that were preferred, with their end token if they have one.
        rejected: The other completions of the same prompts.
        probability: How likely the rater was to prefer the chosen one. Known because the rater is simulated; for
            measuring, not for training.

    Shape:
        - probability: ``(N,)``, float64

    Raises:
        ValueError: If these do not have one row a pair, or a prompt is empty.

    Example:
        >>> pairs = Preferences([[7], [7]], [[1, 2], [3]], [[4], []], torch.ones(2).double())
        >>> len(pairs), pairs[1:].chosen
        (2, [[3]])
        >>> batch = pairs.batch()
        >>> batch.chosen, batch.rejected_mask.sum(1)
        (tensor([[7, 1, 2],
                [7, 3, 0]]), tensor([2, 1]))
    """

    prompts: Sequence[Ids]
    chosen: Sequence[Ids]
    rejected: Sequence[Ids]
    probability: Tensor

    def __post_init__(self) -> None:
        rows = len(self.prompts), len(self.chosen), len(self.rejected), len(self.probability)
        if len(set(rows)) > 1:
            raise ValueError(f"prompts, chosen, rejected and probability need one row a pair, got {rows}.")
        if empty := [row for row, prompt in enumerate(self.prompts) if not prompt]:
            raise ValueError(f"prompt {empty[0]} is empty: give it a start token, such as the end-of-text token.")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.prompts)

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Preferences:
        """Return some of the pairs: of a slice, or of row numbers."""
        numbers = range(len(self))[rows] if isinstance(rows, slice) else [int(row) for row in rows]
        prompts, chosen, rejected = (
            [column[row] for row in numbers] for column in (self.prompts, self.chosen, self.rejected)
        )
        return Preferences(prompts, chosen, rejected, self.probability[torch.tensor([*numbers], dtype=torch.int64)])

    def batch(self, *, device: torch.device | str | None = None) -> PreferenceBatch:
        """Return all pairs as tensors of one length T, padded with 0 on the right."""
        both = joined([*self.prompts, *self.prompts], [*self.chosen, *self.rejected], device=device)
        middle = len(self)
        return PreferenceBatch(*(part[:middle] for part in both), *(part[middle:] for part in both))


def joined(
    prompts: Sequence[Ids], completions: Sequence[Ids], *, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return prompts and completions in one tensor, which tokens are real, and which are the completions'.

    As `pack_completions`, with the mask that a model reading the whole text wants between.

    Args:
        prompts: Token ids, at least one each.
        completions: One for each prompt; one may be empty.
        device: Where to put them.

    Shape:
        - output: ``(N, T)`` int64, ``(N, T)`` bool, ``(N, T)`` bool

    Raises:
        ValueError: If there are no rows, not one completion a prompt, or an empty prompt.

    Example:
        >>> tokens, mask, completion = joined([[7], [7, 8]], [[1, 2], []])
        >>> tokens.tolist(), mask.int().tolist(), completion.int().tolist()
        ([[7, 1, 2], [7, 8, 0]], [[1, 1, 1], [1, 1, 0]], [[0, 1, 1], [0, 0, 0]])
    """
    packed = pack_completions(prompts, completions, device=device)
    ends = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    places = torch.arange(packed.tokens.shape[1], device=device)
    return packed.tokens, places < torch.tensor(ends, device=device)[:, None], packed.mask


def preference_pairs(
    prompts: Sequence[Ids],
    first: Sequence[Ids],
    second: Sequence[Ids],
    *,
    rater: SimulatedRater,
    decode: Callable[[Ids], str],
    generator: torch.Generator,
    asked: Sequence[Any] | None = None,
) -> Preferences:
    """Have a rater compare two completions of each prompt.

    The rater reads the completions' text; whoever learns from the answers gets token ids and nothing else.

    Args:
        prompts: Token ids.
        first: A completion of each.
        second: Another of each. Where both are the same text, the answer is a toss and teaches nothing.
        rater: Who answers.
        decode: From a completion's ids to its text, such as ``partial(tokenizer.decode, skip_special=True)``.
        generator: Of the rater's noise.
        asked: What the rater's taste takes as prompts, if it does: what was asked for, in its own terms.

    Raises:
        ValueError: If the lists differ in length.

    Example:
        >>> rater = SimulatedRater(lambda texts: torch.tensor([float(len(text)) for text in texts]), temperature=0.1)
        >>> g = torch.Generator().manual_seed(0)
        >>> pairs = preference_pairs([[0], [0]], [[1], [2, 2]], [[3, 3], [4]], rater=rater, decode=str, generator=g)
        >>> pairs.chosen, pairs.rejected
        ([[3, 3], [2, 2]], [[1], [4]])
    """
    if not len(prompts) == len(first) == len(second):
        raise ValueError(f"each prompt needs two completions, got {len(prompts)}, {len(first)} and {len(second)}.")
    texts = [[decode(list(ids)) for ids in completions] for completions in (first, second)]
    probability = rater.probability(*texts, prompts=asked)
    preferred = rater.compare(*texts, generator=generator, prompts=asked)
    pairs = [(a, b) if won else (b, a) for a, b, won in zip(first, second, preferred.tolist(), strict=True)]
    return Preferences(
        list(prompts),
        [chosen for chosen, _ in pairs],
        [rejected for _, rejected in pairs],
        torch.where(preferred, probability, 1 - probability),
    )
