"""Answers to notebook 00's exercises that are right, but written in another way than the solutions, must pass."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.study.exercises import check, load_exercises

PATH = Path(__file__).parents[3] / "exercises" / "00_start_here.py"
MAJORITY, PERCEPTRON, CONFUSION, SPLIT = load_exercises(PATH)


def majority_by_mode(train_labels, test_labels):
    return (test_labels == train_labels.mode().values).float().mean()


def majority_by_counter(train, test):
    counts = Counter(sorted(train.tolist()))
    return sum(label == counts.most_common(1)[0][0] for label in test.tolist()) / len(test)


def majority_in_numpy(train_labels, test_labels):
    return np.mean(test_labels.numpy() == np.bincount(train_labels.numpy()).argmax())


def perceptron_by_sign(weights, bias, x, y):
    mistake = float(torch.sign(torch.dot(weights, x) + bias) != y)
    return weights + mistake * y * x, bias + mistake * y


def perceptron_on_a_clone(weights, bias, x, y):
    weights, bias = weights.clone(), bias.item()
    if y * ((weights * x).sum().item() + bias) <= 0:
        weights += y * x
        bias += y
    return [weights, bias]


def confusion_by_loop(targets, predictions, num_classes):
    table = torch.zeros(num_classes, num_classes, dtype=torch.int32)
    for target, prediction in zip(targets.tolist(), predictions.tolist(), strict=True):
        table[target, prediction] += 1
    return table


def confusion_by_one_hot(targets, predictions, num_classes):
    one_hot = [F.one_hot(labels.long(), num_classes) for labels in (targets, predictions)]
    return one_hot[0].T @ one_hot[1]


def confusion_by_index_put(targets, predictions, num_classes):
    ones = torch.ones(len(targets), dtype=torch.long)
    empty = torch.zeros(num_classes, num_classes, dtype=torch.long)
    return empty.index_put((targets.long(), predictions.long()), ones, accumulate=True)


def split_in_plain_python(groups, validation_share, seed):
    rows = groups.tolist()
    names = sorted(set(rows))
    random.Random(seed).shuffle(names)
    chosen, size = set(), 0
    for name in names:
        if size + rows.count(name) <= validation_share * len(rows):
            chosen.add(name)
            size += rows.count(name)
    return (
        [row for row, name in enumerate(rows) if name not in chosen],
        [row for row, name in enumerate(rows) if name in chosen],
    )


def split_by_cumulative_sizes(groups, validation_share, seed):
    names, sizes = np.unique(groups.numpy(), return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]
    validation = np.isin(groups.numpy(), names[order][before < validation_share * len(groups)])
    return np.flatnonzero(~validation), np.flatnonzero(validation)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        (MAJORITY, majority_by_mode),
        (MAJORITY, majority_by_counter),
        (MAJORITY, majority_in_numpy),
        (PERCEPTRON, perceptron_by_sign),
        (PERCEPTRON, perceptron_on_a_clone),
        (CONFUSION, confusion_by_loop),
        (CONFUSION, confusion_by_one_hot),
        (CONFUSION, confusion_by_index_put),
        (SPLIT, split_in_plain_python),
        (SPLIT, split_by_cumulative_sizes),
    ],
)
def test_other_right_answers_pass(exercise, answer, seed):
    assert check(exercise, answer, seed=seed).status == "right"


@pytest.mark.parametrize("exercise", [MAJORITY, PERCEPTRON, CONFUSION, SPLIT], ids=lambda exercise: exercise.id)
def test_every_wrong_answer_is_told_a_counter_example(exercise):
    for answer in exercise.wrong.values():
        verdict = check(exercise, answer, seed=0)
        assert verdict.status == "wrong"
        assert "\n  input     " in verdict.reason
        assert "\n  got       " in verdict.reason or "changed its argument" in verdict.reason
        assert len(verdict.reason.splitlines()) <= 16
