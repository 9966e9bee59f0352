"""Dawid and Skene's model: find out at once what is true and how much each annotator is to be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.alignment.raters.annotators import MISSING, checked_labels, label_counts

# Shape letters used in this file: N = items, R = annotators, K = classes.


@dataclass(frozen=True, slots=True, eq=False)
class DawidSkene:
    """What EM has found.

    Args:
        posterior: How likely each class is for each item, given all labels.
        confusion: How likely annotator r is to say l where k is true: ``confusion[r, k, l]``. A row for which there is
            nothing to go by (nobody asked, no item of the class) is even.
        prior: How common each class is.
        log_likelihoods: Of all labels, in nats, before each round and after the last; never falls.
        converged: Whether the last round gained less than the tolerance.

    Shape:
        - posterior: ``(N, K)``; confusion: ``(R, K, K)``; prior: ``(K,)``; float64
    """

    posterior: Tensor
    confusion: Tensor
    prior: Tensor
    log_likelihoods: list[float]
    converged: bool

    @property
    def labels(self) -> Tensor:
        """The likeliest class of each item, ``(N,)`` int64."""
        return self.posterior.argmax(dim=1)


def dawid_skene(
    labels: Tensor, *, num_classes: int | None = None, max_rounds: int = 1000, tolerance: float = 1e-8
) -> DawidSkene:
    """Infer true labels from those of several annotators of unknown skill, by expectation maximisation.

    If we knew what is true, we could count each annotator's mistakes; if we knew those, Bayes' rule would give what is
    true. So guess (by votes), and take turns. Who often disagrees with the rest loses weight; who is reliably wrong is
    turned round. It assumes that annotators err independently: a mistake that all share, such as a weakness for
    length, looks like truth.

    Args:
        labels: One row an item.
        num_classes: How many classes there are, if more than labels show.
        max_rounds: Where to stop.
        tolerance: Stop when a round gains less than this, in nats an item.

    Shape:
        - labels: ``(N, R)``, int64 in ``[0, K)``, or -1 where not asked

    Returns:
        The maximum of the likelihood that the votes lead to: EM finds a local one. Without three annotators an item or
        so there is little to tell skill by.

    Raises:
        ValueError: If these are no labels, an item has none, or a number is out of its range.

    Example:
        >>> truth = torch.tensor([0, 1] * 20)
        >>> contrary = torch.stack([truth, truth, 1 - truth, 1 - truth, truth], dim=1)
        >>> found = dawid_skene(contrary)
        >>> torch.equal(found.labels, truth), found.confusion[2].round(decimals=9)  # always wrong is as good as right
        (True, tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64))

    Reference: Dawid and Skene 1979, Maximum likelihood estimation of observer error-rates using the EM algorithm,
    Applied Statistics 28
    """
    labels = checked_labels(labels)
    seen = int(labels.max()) + 1
    num_classes = seen if num_classes is None else num_classes
    if num_classes < max(seen, 1) or max_rounds < 1 or not tolerance >= 0:
        raise ValueError(
            f"num_classes must be at least {seen}, max_rounds 1 and tolerance 0, got {num_classes}, {max_rounds} and "
            f"{tolerance}."
        )
    counts = torch.nn.functional.pad(label_counts(labels), (0, num_classes - seen)).double()
    if bool((counts.sum(dim=1) == 0).any()):
        rows = (counts.sum(dim=1) == 0).nonzero().flatten().tolist()
        raise ValueError(f"items {rows[:5]} have no label at all: leave them out.")
    said = torch.nn.functional.one_hot(labels.clamp(min=0), num_classes).double()
    said = said * (labels != MISSING)[:, :, None]  # (N, R, K): 1 for what was said, nothing where not asked
    posterior = counts / counts.sum(dim=1, keepdim=True)
    history: list[float] = []
    converged = False
    for _ in range(max_rounds + 1):
        prior, confusion = _maximise(said, posterior)
        posterior, log_likelihood = _expect(said, prior, confusion)
        history.append(log_likelihood)
        if len(history) > 1 and history[-1] - history[-2] <= tolerance * len(labels):
            converged = True
            break
    return DawidSkene(posterior, confusion, prior, history, converged)


def _maximise(said: Tensor, posterior: Tensor) -> tuple[Tensor, Tensor]:
    """Return the prior and the confusions that make ``posterior`` and the labels likeliest: shares of counts."""
    counts = torch.einsum("nk,nrl->rkl", posterior, said)
    totals = counts.sum(dim=-1, keepdim=True)
    even = torch.full_like(counts, 1 / counts.shape[-1])
    return posterior.mean(dim=0), torch.where(totals > 0, counts / totals.clamp(min=math.ulp(0.0)), even)


def _expect(said: Tensor, prior: Tensor, confusion: Tensor) -> tuple[Tensor, float]:
    """Return the posterior by Bayes' rule, and the log-likelihood of all labels."""
    # log 0 is minus infinity, which a 0 in ``said`` would make nan: the smallest number's logarithm is as good
    log_confusion = confusion.clamp(min=torch.finfo(torch.float64).tiny).log()
    joint = prior.log() + torch.einsum("nrl,rkl->nk", said, log_confusion)
    evidence = joint.logsumexp(dim=1)
    return (joint - evidence[:, None]).exp(), float(evidence.sum())
