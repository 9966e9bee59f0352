"""Exercises 00.1 to 00.3: a baseline, one perceptron update, a table of errors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from course_lib.study.exercises import Case, Exercise


def majority_accuracy(train_labels: Tensor, test_labels: Tensor) -> float:
    """Return the accuracy on the test labels of always answering the most frequent class of the training labels."""
    counts = torch.bincount(train_labels)
    majority = counts.argmax()  # the first of equals, so a tie goes to the smallest class
    return (test_labels == majority).double().mean().item()


def _majority_oracle(train_labels, test_labels):
    train, test = train_labels.tolist(), test_labels.tolist()
    majority = max(sorted(set(train)), key=train.count)
    return sum(label == majority for label in test) / len(test)


def _draw_labels(rng):
    num_classes = rng.integers(2, 7)
    dtype = (torch.int64, torch.int32, torch.uint8)[rng.integers(3)]
    train, test = (torch.tensor(rng.integers(0, num_classes, rng.integers(1, 13))).to(dtype) for _ in range(2))
    return train, test


def _explain_majority(case, expected, got):
    if got > 1:
        return "an accuracy is a share: it lies between 0 and 1"
    train, test = (labels.tolist() for labels in case.args)
    majority = max(sorted(set(train)), key=train.count)
    hits = test.count(majority)
    return f"the most frequent training class is {majority}, and {hits} of the {len(test)} test labels are that class"


def _majority_of_test(train_labels, test_labels):
    return majority_accuracy(test_labels, test_labels)


def _majority_share_in_train(train_labels, test_labels):
    return majority_accuracy(train_labels, train_labels)


def _majority_first_seen(train_labels, test_labels):
    majority = Counter(train_labels.tolist()).most_common(1)[0][0]
    return (test_labels == majority).float().mean()


def _majority_count(train_labels, test_labels):
    return int((test_labels == torch.bincount(train_labels).argmax()).sum())


def perceptron_update(weights: Tensor, bias: Tensor, x: Tensor, y: int) -> tuple[Tensor, Tensor]:
    """Return the weights and the bias after one example ``x`` of class ``y`` (+1 or -1), by the perceptron rule."""
    score = weights @ x + bias
    if y * score > 0:
        return weights, bias
    return weights + y * x, bias + y


def _perceptron_oracle(weights, bias, x, y):
    score = sum(weight * value for weight, value in zip(weights, x, strict=True)) + bias
    if score * y > 0:
        return weights, bias
    return torch.stack([weight + y * value for weight, value in zip(weights, x, strict=True)]), bias + y


def _draw_example(rng):
    dtype = (torch.float32, torch.float64)[rng.integers(2)]
    size = rng.integers(1, 6)
    # Quarters, so that a score of exactly 0 occurs, and is exactly 0 in every precision and order of summation.
    weights, x = (torch.tensor(rng.integers(-8, 9, size) / 4, dtype=dtype) for _ in range(2))
    bias = torch.tensor(rng.integers(-8, 9) / 4, dtype=dtype)
    if rng.random() < 0.2:
        weights, bias = torch.zeros_like(weights), torch.zeros_like(bias)
    return weights, bias, x, int(rng.choice([-1, 1]))


def _explain_perceptron(case, expected, got):
    weights, bias, x, y = case.args
    product = y * (weights @ x + bias).item() + 0.0  # never -0
    moves = f"not right, so the weights move by {(y * x).tolist()} and the bias by {y}, once"
    meaning = "right, so nothing moves" if product > 0 else moves
    return f"y times the score is {product:g} here: this example is {meaning}"


def _always_updates(weights, bias, x, y):
    return weights + y * x, bias + y


def _zero_is_right(weights, bias, x, y):
    return (weights + y * x, bias + y) if y * (weights @ x + bias) < 0 else (weights, bias)


def _updates_in_place(weights, bias, x, y):
    if y * (weights @ x + bias) <= 0:
        weights += y * x
        bias += y
    return weights, bias


def _bias_stays(weights, bias, x, y):
    return (weights + y * x, bias) if y * (weights @ x + bias) <= 0 else (weights, bias)


def _score_without_bias(weights, bias, x, y):
    return (weights + y * x, bias + y) if y * (weights @ x) <= 0 else (weights, bias)


def _classes_0_and_1(weights, bias, x, y):
    error = y - int(weights @ x + bias > 0)
    return weights + error * x, bias + error


def confusion_matrix(targets: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Return a table of whole numbers: row t, column p counts the examples of class t that were predicted as p."""
    pairs = targets * num_classes + predictions  # each pair (t, p) becomes one number
    return torch.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def _confusion_oracle(targets, predictions, num_classes):
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    for target, prediction in zip(targets.tolist(), predictions.tolist(), strict=True):
        table[target, prediction] += 1
    return table


def _draw_predictions(rng):
    num_classes, size = int(rng.integers(2, 6)), rng.integers(1, 13)
    dtype = (torch.int64, torch.int32)[rng.integers(2)]
    targets, predictions = (torch.tensor(rng.integers(0, num_classes, size)).to(dtype) for _ in range(2))
    return targets, predictions, num_classes


def _explain_confusion(case, expected, got):
    total, examples = got.sum().item(), len(case.args[0])
    return None if total == examples else f"the table's entries add up to {total}, but there are {examples} examples"


def _columns_are_true_classes(targets, predictions, num_classes):
    return confusion_matrix(predictions, targets, num_classes)


def _counts_each_pair_once(targets, predictions, num_classes):
    table = torch.zeros(num_classes, num_classes, dtype=torch.long)
    table[targets, predictions] += 1  # one write per pair, however often the pair occurs
    return table


def _only_classes_seen(targets, predictions, num_classes):
    return confusion_matrix(targets, predictions, int(max(targets.max(), predictions.max())) + 1)


def _float_table(targets, predictions, num_classes):
    table = torch.zeros(num_classes, num_classes)
    for target, prediction in zip(targets, predictions, strict=True):
        table[target, prediction] += 1
    return table


EXERCISES = (
    Exercise(
        id="00.1",
        title="The baseline to beat",
        difficulty=1,
        minutes=5,
        solution=majority_accuracy,
        cases=_draw_labels,
        oracle=_majority_oracle,
        edge_cases=(
            Case((torch.tensor([2, 1, 2, 1]), torch.tensor([1, 2, 2])), note="a tie among the training labels"),
            Case(
                (torch.tensor([3, 3, 0]), torch.tensor([0, 0, 2])), note="the majority class is not in the test labels"
            ),
            Case((torch.tensor([1]), torch.tensor([1, 0, 0, 0])), note="one training label"),
        ),
        explain=_explain_majority,
        hints=(
            "Two steps: which class is it? How often would it be right? Only the second step sees the test labels.",
            "`torch.bincount(labels)` counts how often each of the classes 0, 1, 2, ... occurs.",
            "`argmax` gives the first of several largest entries, so a tie needs no extra care. Then compare "
            "`test_labels == majority` and average; booleans must become floating-point numbers first.",
        ),
        wrong={
            "takes the majority of the test labels": _majority_of_test,
            "measures on the training labels": _majority_share_in_train,
            "lets a tie go to the class seen first": _majority_first_seen,
            "counts instead of averaging": _majority_count,
        },
    ),
    Exercise(
        id="00.2",
        title="One step of the perceptron",
        difficulty=2,
        minutes=10,
        solution=perceptron_update,
        cases=_draw_example,
        oracle=_perceptron_oracle,
        edge_cases=(
            Case((torch.zeros(2), torch.tensor(0.0), torch.tensor([1.0, -2.0]), -1), note="all starts at zero"),
            Case((torch.zeros(2), torch.tensor(0.0), torch.tensor([1.0, -2.0]), 1), note="a score of zero, class +1"),
            Case(
                (torch.tensor([-4.0]), torch.tensor(0.0), torch.tensor([1.0]), 1), note="still wrong after one update"
            ),
            Case((torch.ones(2), torch.tensor(0.0), torch.tensor([1.0, 2.0]), 1), note="right already"),
            Case((torch.ones(2), torch.tensor(-4.0), torch.tensor([1.0, 2.0]), 1), note="wrong because of the bias"),
        ),
        explain=_explain_perceptron,
        hints=(
            "First ask whether the example is right: do the score and `y` have the same sign?",
            "`y * score` is positive exactly when they have. Zero is not positive: a score of 0 decides nothing.",
            "If it is not right, return `weights + y * x` and `bias + y`: new tensors, where `+=` would write into the "
            "caller's.",
        ),
        wrong={
            "moves after right answers too": _always_updates,
            "takes a score of 0 for right": _zero_is_right,
            "writes into the caller's weights": _updates_in_place,
            "never moves the bias": _bias_stays,
            "leaves the bias out of the score": _score_without_bias,
            "works with classes 0 and 1": _classes_0_and_1,
        },
    ),
    Exercise(
        id="00.3",
        title="Which digit is taken for which?",
        difficulty=2,
        minutes=10,
        solution=confusion_matrix,
        cases=_draw_predictions,
        oracle=_confusion_oracle,
        edge_cases=(
            Case((torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]), 2), note="one pair, three times"),
            Case((torch.tensor([1, 0]), torch.tensor([1, 0]), 4), note="two classes never occur"),
            Case((torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long), 2), note="no example"),
            Case((torch.full((300,), 11), torch.full((300,), 10), 12), note="twelve classes, 300 times one pair"),
        ),
        explain=_explain_confusion,
        hints=(
            "A loop over the examples that adds 1 to `table[target, prediction]` is a right answer. Make the table of "
            "whole numbers, `torch.zeros(..., dtype=torch.long)`.",
            "Without a loop: give each pair a number of its own, `target * num_classes + prediction`, and count how "
            "often each number occurs.",
            "`torch.bincount(pairs, minlength=...)` counts; `minlength` makes room for pairs that never occur. "
            "`reshape` turns the counts into a table, row by row.",
        ),
        wrong={
            "has the true classes in its columns": _columns_are_true_classes,
            "counts a repeated pair once": _counts_each_pair_once,
            "has room only for the classes that occur": _only_classes_seen,
            "makes a table of floating-point numbers": _float_table,
        },
    ),
)
