"""Three exercises of a made-up course, to test the framework with: tensors, lists of tensors, NumPy arrays."""

import math

import numpy as np
import torch

from course_lib.study.exercises import Case, Exercise, Property


def log_sum_exp(x, dim):
    """Return log(sum(exp(x))) along one axis, without overflow."""
    top = x.max(dim=dim, keepdim=True).values
    return (x - top).exp().sum(dim=dim).log() + top.squeeze(dim)


def _log_sum_exp_oracle(x, dim):
    def one(row):
        top = max(row)
        return top + math.log(sum(math.exp(value - top) for value in row))

    return np.apply_along_axis(lambda row: one(row.tolist()), dim, x.numpy())


def _draw_scores(rng):
    shape = tuple(rng.integers(1, 5, rng.integers(1, 4)))
    dtype = (torch.float32, torch.float64, torch.bfloat16)[rng.integers(3)]
    scale = (1, 300)[rng.integers(2)]
    return torch.tensor(rng.normal(size=shape) * scale).to(dtype), int(rng.integers(-len(shape), len(shape)))


def merge(gradients, counts):
    """Return the gradient of the mean over all targets, from mean gradients over ``counts`` targets each."""
    merged = torch.zeros_like(gradients[0])
    for gradient, count in zip(gradients, counts, strict=True):
        if count > 0:  # the gradient of an empty micro-batch is 0/0
            merged += gradient * count
    return merged / sum(counts)


def _merge_oracle(gradients, counts):
    rows = [gradient for gradient, count in zip(gradients, counts, strict=True) for _ in range(count)]
    return torch.stack(rows).sum(0) / len(rows)


def _draw_gradients(rng):
    shape = tuple(rng.integers(1, 4, rng.integers(1, 3)))
    dtype = (torch.float32, torch.float64)[rng.integers(2)]
    counts = [int(count) for count in rng.integers(0, 5, rng.integers(1, 5))]
    counts[rng.integers(len(counts))] += 1
    gradients = [
        torch.tensor(rng.normal(size=shape) if count else np.full(shape, np.nan)).to(dtype) for count in counts
    ]
    return gradients, counts


def _adds_in_place(gradients, counts):
    for gradient, count in zip(gradients, counts, strict=True):
        gradient *= count if count else 1
    return sum(gradient for gradient, count in zip(gradients, counts, strict=True) if count) / sum(counts)


def fair_accuracy(scores, labels):
    """Return the accuracy if a tie for the highest score is decided by lot."""
    best = scores == scores.max(axis=1, keepdims=True)
    return (best[np.arange(len(labels)), labels] / best.sum(axis=1)).mean()


def _fair_accuracy_oracle(scores, labels):
    won = [(row[label] == max(row)) / list(row).count(max(row)) for row, label in zip(scores, labels, strict=True)]
    return sum(won) / len(won)


def _draw_predictions(rng):
    rows, classes = rng.integers(1, 6), rng.integers(2, 5)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return rng.integers(0, 3, (rows, classes)).astype(dtype), rng.integers(0, classes, rows)


def _does_not_care_about_order(function, case, result):
    scores, labels = case.args
    return None if abs(function(scores[::-1], labels[::-1]) - result) < 1e-6 else "the order of the rows matters"


EXERCISES = (
    Exercise(
        id="05.1",
        title="Log-sum-exp",
        difficulty=3,
        minutes=10,
        solution=log_sum_exp,
        cases=_draw_scores,
        oracle=_log_sum_exp_oracle,
        edge_cases=(Case((torch.tensor([[1000.0, 0.0], [-1000.0, -1000.0]]), 1), note="large numbers"),),
        hints=("What is exp(1000)?", "Subtract the largest number first, add it back last."),
        wrong={
            "overflows": lambda x, dim: x.exp().sum(dim).log(),
            "keeps the axis": lambda x, dim: torch.logsumexp(x, dim, keepdim=True),
            "always takes the last axis": lambda x, dim: torch.logsumexp(x, -1),
            "forgets to add the largest back": lambda x, dim: (x - x.amax(dim, keepdim=True)).exp().sum(dim).log(),
        },
    ),
    Exercise(
        id="05.2",
        title="The weighted step",
        difficulty=2,
        minutes=10,
        solution=merge,
        cases=_draw_gradients,
        oracle=_merge_oracle,
        edge_cases=(
            Case(([torch.ones(1), torch.full((1,), torch.nan)], [2, 0]), note="an empty micro-batch"),
            Case(([torch.ones(1), torch.zeros(1)], [3, 1])),
        ),
        hints=("Which gradient has the larger say?", "Multiply by the count, divide once.", "Skip counts of 0."),
        wrong={
            "plain average": lambda gradients, counts: sum(gradients) / len(gradients),
            "nan from an empty micro-batch": lambda gradients, counts: (
                sum(gradient * count for gradient, count in zip(gradients, counts, strict=True)) / sum(counts)
            ),
            "divides by the number of micro-batches": lambda gradients, counts: (
                sum(gradient for gradient, count in zip(gradients, counts, strict=True) if count)
                / sum(count > 0 for count in counts)
            ),
            "modifies the gradients": _adds_in_place,
        },
    ),
    Exercise(
        id="05.3",
        title="Ties by lot",
        difficulty=3,
        minutes=10,
        solution=fair_accuracy,
        cases=_draw_predictions,
        oracle=_fair_accuracy_oracle,
        edge_cases=(Case((np.array([[1.0, 1.0]]), np.array([1])), note="a tie"),),
        properties=(Property("does not care about the order of the rows", _does_not_care_about_order),),
        hints=("Which classes share the highest score?", "Each of m winners is drawn with probability 1/m."),
        wrong={
            "argmax decides ties": lambda scores, labels: (scores.argmax(1) == labels).mean(),
            "a tie counts in full": lambda scores, labels: (
                scores[np.arange(len(labels)), labels] == scores.max(1)
            ).mean(),
            "a tie counts as an error": lambda scores, labels: (
                ((scores == scores.max(1, keepdims=True)).sum(1) == 1) & (scores.argmax(1) == labels)
            ).mean(),
        },
        explain=lambda case, expected, got: "how many classes share the highest score in each row?",
    ),
)
