"""Several annotators, one question: how far they agree, beyond what chance would give, and what the majority says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Shape letters used in this file: N = items, R = annotators, K = classes.

MISSING = -1  # an annotator was not asked about an item


def cohen_kappa(first: Tensor, second: Tensor) -> float:
    """Return how much two annotators agree beyond chance: ``(observed - expected) / (1 - expected)``.

    Two who say "yes" nine times in ten agree 82 % of the time without looking. Kappa takes that away: what is expected
    is how often they would agree if each kept to his own frequencies and tossed.

    Args:
        first: One annotator's labels.
        second: The other's, of the same items.

    Shape:
        - first, second: ``(N,)``, int64, 0 or more, or -1 where not asked; items that lack a label are left out

    Returns:
        1 if they always agree, 0 at chance level, negative below it; nan if both give one and the same label to all
        items, for then chance explains everything.

    Raises:
        ValueError: If the labels are no two lists of class numbers of one length, or no item has both.

    Example:
        >>> yes, no = [1] * 9 + [0], [0] + [1] * 9
        >>> round(cohen_kappa(torch.tensor(yes), torch.tensor(no)), 2)  # they agree on 8 of 10
        -0.11

    Reference: Cohen 1960, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"two annotators need labels of the same items, got {tuple(first.shape)}, {tuple(second.shape)}."
        )
    labels = checked_labels(torch.stack([first, second], dim=1))
    both = labels[(labels != MISSING).all(dim=1)]
    if len(both) == 0:
        raise ValueError("no item has a label of both annotators.")
    num_classes = int(both.max()) + 1
    shares = torch.stack([torch.bincount(column, minlength=num_classes) for column in both.unbind(1)]).double() / len(
        both
    )
    observed = float((both[:, 0] == both[:, 1]).double().mean())
    return _beyond_chance(observed, float((shares[0] * shares[1]).sum()))


def fleiss_kappa(labels: Tensor) -> float:
    """Return how much several annotators agree beyond chance.

    Observed is how often two of them, drawn at random, agree on an item; expected is how often two labels drawn from
    all labels are equal. Annotators are interchangeable here, it need not be the same ones who label each item.

    Args:
        labels: One row an item.

    Shape:
        - labels: ``(N, R)``, int64, 0 or more, or -1 where not asked; each item with the same number of labels

    Returns:
        1 if all agree on everything, 0 at chance level, negative below it; nan if there is only one label in use.

    Raises:
        ValueError: If these are no labels, or items do not have the same number of them, two or more.

    Example:
        >>> round(fleiss_kappa(torch.tensor([[0, 0, 0], [1, 1, 1], [0, 0, 1]])), 2)
        0.55

    Reference: Fleiss 1971, Measuring nominal scale agreement among many raters, Psychological Bulletin 76
    """
    counts = label_counts(checked_labels(labels)).double()
    each = counts.sum(dim=1)
    if each.min() != each.max() or each[0] < 2:
        raise ValueError(
            f"fleiss_kappa needs the same number of labels an item, at least 2, got {int(each.min())} to "
            f"{int(each.max())}: leave items or annotators out, or use dawid_skene."
        )
    agreeing = (counts * (counts - 1)).sum(dim=1) / (each * (each - 1))
    shares = counts.sum(dim=0) / counts.sum()
    return _beyond_chance(float(agreeing.mean()), float(shares.square().sum()))


def majority_vote(labels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return the commonest label of each item.

    Every vote counts as much as any other, a careless one too; `dawid_skene` weighs them.

    Args:
        labels: One row an item.
        generator: Draws one of the commonest labels where there are several. Without it such an item gets -1.

    Shape:
        - labels: ``(N, R)``, int64, 0 or more, or -1 where not asked
        - output: ``(N,)``, int64

    Raises:
        ValueError: If these are no labels, or an item has none.

    Example:
        >>> majority_vote(torch.tensor([[0, 1, 1], [2, 0, -1]]))
        tensor([ 1, -1])
    """
    counts = label_counts(checked_labels(labels))
    most = counts.amax(dim=1, keepdim=True)
    if bool((most == 0).any()):
        rows = (most[:, 0] == 0).nonzero().flatten().tolist()
        raise ValueError(f"items {rows[:5]} have no label at all: leave them out.")
    winning = counts == most
    if generator is None:
        return winning.long().argmax(dim=1).masked_fill(winning.sum(dim=1) > 1, MISSING)
    drawn = torch.rand(counts.shape, dtype=torch.float64, generator=generator, device=generator.device)
    return drawn.cpu().masked_fill(~winning, -1).argmax(dim=1)


def checked_labels(labels: Tensor) -> Tensor:
    """Return labels on the CPU, if that is what they are."""
    if labels.ndim != 2 or labels.numel() == 0 or labels.dtype != torch.int64:
        raise ValueError(
            "labels must be int64, one row an item and one column an annotator, got "
            f"{tuple(labels.shape)} of {labels.dtype}."
        )
    labels = labels.detach().cpu()
    if int(labels.min()) < MISSING:
        raise ValueError(f"labels must be class numbers from 0 up, or -1 where there is none, got {int(labels.min())}.")
    if int(labels.max()) == MISSING:
        raise ValueError("there is not a single label.")
    return labels


def label_counts(labels: Tensor) -> Tensor:
    """Return how often each item got each label, ``(N, K)``."""
    classes = torch.arange(int(labels.max()) + 1)
    return (labels[:, :, None] == classes).sum(dim=1)


def _beyond_chance(observed: float, expected: float) -> float:
    return math.nan if expected == 1 else (observed - expected) / (1 - expected)
