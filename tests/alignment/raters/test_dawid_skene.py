"""Dawid and Skene's EM: its formula read aloud, a likelihood that never falls, planted skills that come back."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import dawid_skene, majority_vote


def planted(num, confusions, prior=(0.5, 0.5), coverage=1.0, seed=0):
    """Draw what is true, and what annotators of these confusions say of it."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.multinomial(torch.tensor(prior), num, replacement=True, generator=g)
    said = [torch.multinomial(torch.tensor(each)[truth], 1, generator=g)[:, 0] for each in confusions]
    labels = torch.stack(said, 1)
    labels[torch.rand(labels.shape, generator=g) >= coverage] = -1
    return labels, truth


def skilled(accuracy):
    return [[accuracy, 1 - accuracy], [1 - accuracy, accuracy]]


def slow_round(rows, posterior, num_classes):
    """One round, one item and one annotator at a time; returns the new posterior and the log-likelihood."""
    num, annotators = len(rows), len(rows[0])
    prior = [sum(p[k] for p in posterior) / num for k in range(num_classes)]
    confusion = {}
    for r in range(annotators):
        for k in range(num_classes):
            total = sum(p[k] for p, row in zip(posterior, rows, strict=True) if row[r] >= 0)
            for said in range(num_classes):
                mine = sum(p[k] for p, row in zip(posterior, rows, strict=True) if row[r] == said)
                confusion[r, k, said] = mine / total
    new, log_likelihood = [], 0.0
    for row in rows:
        joint = [
            prior[k] * math.prod(confusion[r, k, said] for r, said in enumerate(row) if said >= 0)
            for k in range(num_classes)
        ]
        new.append([each / sum(joint) for each in joint])
        log_likelihood += math.log(sum(joint))
    return new, log_likelihood


def test_three_rounds_are_the_formula_read_aloud():
    three = [[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]] * 4
    labels, _ = planted(60, three, prior=(0.5, 0.3, 0.2), coverage=0.8)
    labels = labels[(labels >= 0).any(1)]
    rows = labels.tolist()
    posterior = [[row.count(k) / sum(x >= 0 for x in row) for k in range(3)] for row in rows]
    log_likelihoods = []
    for _ in range(4):
        posterior, log_likelihood = slow_round(rows, posterior, 3)
        log_likelihoods.append(log_likelihood)
    found = dawid_skene(labels, max_rounds=3, tolerance=0.0)
    assert_close(found.posterior, torch.tensor(posterior, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    assert found.log_likelihoods == pytest.approx(log_likelihoods, rel=1e-12)
    assert not found.converged


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihood_never_falls(seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 3, (40, 5), generator=g)  # noise through and through, with gaps
    labels[:, 0] = labels[:, 0].clamp(min=0)
    gains = torch.tensor(dawid_skene(labels).log_likelihoods, dtype=torch.float64).diff()
    assert gains.min() > -1e-10


def test_planted_confusions_come_back():
    uneven = [[0.95, 0.05], [0.4, 0.6]]  # misses many of the second class
    planned = [skilled(0.9), skilled(0.75), skilled(0.6), uneven, skilled(0.5)]
    labels, _ = planted(20_000, planned, prior=(0.7, 0.3), coverage=0.9)
    keep = (labels >= 0).any(1)
    found = dawid_skene(labels[keep])
    assert found.converged
    assert_close(found.confusion, torch.tensor(planned).double(), rtol=0, atol=0.03)  # two or three deviations
    assert_close(found.prior, torch.tensor([0.7, 0.3]).double(), rtol=0, atol=0.02)


def test_who_is_careless_loses_weight_and_the_vote_loses():
    labels, truth = planted(3000, [skilled(0.95), skilled(0.9), *[skilled(0.55)] * 5])
    by_vote = (majority_vote(labels) == truth).double().mean().item()
    found = dawid_skene(labels)
    by_skill = (found.labels == truth).double().mean().item()
    best = _bayes_accuracy([0.95, 0.9, *[0.55] * 5])
    assert by_vote < 0.85 < by_skill
    assert by_skill == pytest.approx(best, abs=0.015)  # whoever knows the skills does no better; deviation 0.004


def _bayes_accuracy(skills):
    """How often the truth is the likelier of two classes for one who knows everybody's skill: over all answers."""
    total = 0.0
    for answers in range(2 ** len(skills)):
        bits = [answers >> i & 1 for i in range(len(skills))]
        one = math.prod(s if b else 1 - s for s, b in zip(skills, bits, strict=True))
        zero = math.prod(1 - s if b else s for s, b in zip(skills, bits, strict=True))
        total += max(one, zero) / 2
    return total


def test_the_posterior_is_to_be_believed():
    labels, truth = planted(20_000, [skilled(0.8), skilled(0.7), skilled(0.65)])
    found = dawid_skene(labels)
    sure = found.posterior.amax(1)
    assert sure.mean().item() == pytest.approx((found.labels == truth).double().mean().item(), abs=0.015)


def test_all_agreeing_are_believed_and_unseen_classes_are_even():
    labels = torch.tensor([[0, 0, 0, -1], [1, 1, 1, -1]])
    found = dawid_skene(labels, num_classes=3)
    assert_close(found.posterior, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double(), rtol=0, atol=1e-12)
    assert_close(found.confusion[3], torch.full((3, 3), 1 / 3, dtype=torch.float64), rtol=0, atol=0)  # never asked
    assert_close(
        found.confusion[0, 2], torch.full((3,), 1 / 3, dtype=torch.float64), rtol=0, atol=0
    )  # a class that never came
    assert found.log_likelihoods[-1] == pytest.approx(2 * math.log(0.5), abs=1e-12)


def test_items_and_annotators_in_any_order():
    labels, _ = planted(200, [skilled(0.9), skilled(0.7), skilled(0.6), skilled(0.8)])
    items, people = torch.randperm(200), torch.tensor([2, 0, 3, 1])
    found, moved = dawid_skene(labels), dawid_skene(labels[items][:, people])
    assert_close(moved.posterior, found.posterior[items])
    assert_close(moved.confusion, found.confusion[people])


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (torch.zeros(3), {}, "int64"),
        (torch.tensor([[0, 1], [-1, -1]]), {}, r"items \[1\] have no label"),
        (torch.tensor([[0, 2]]), {"num_classes": 2}, "num_classes must be at least 3"),
        (torch.tensor([[0, 1]]), {"max_rounds": 0}, "max_rounds 1"),
        (torch.tensor([[0, 1]]), {"tolerance": -1.0}, "tolerance 0"),
    ],
)
def test_bad_input_is_named(labels, settings, message):
    with pytest.raises(ValueError, match=message):
        dawid_skene(labels, **settings)
