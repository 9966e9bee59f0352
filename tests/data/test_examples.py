"""Examples: rows stay together with their targets, and wrong ones are refused by name."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from course_lib.data import Examples


def pets(**changes):
    fields = {
        "x": torch.arange(8.0).reshape(4, 2),
        "y": torch.tensor([0, 1, 1, 0]),
        "classes": ("cat", "dog"),
        "name": "pets",
        "source": "made up",
        "licence": "CC0-1.0",
    }
    return Examples(**(fields | changes))


def test_take_keeps_rows_with_their_targets_in_the_order_asked_for():
    taken = pets(features=("weight", "height")).take([2, 0, 2])
    assert_close(taken.x, torch.tensor([[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]]), rtol=0, atol=0)
    assert taken.y.tolist() == [1, 0, 1]
    assert (taken.classes, taken.features, taken.licence) == (("cat", "dog"), ("weight", "height"), "CC0-1.0")


def test_take_accepts_a_tensor_and_an_empty_list():
    assert pets().take(torch.tensor([3])).x.tolist() == [[6.0, 7.0]]
    assert len(pets().take([])) == 0


def test_to_moves_both_tensors():
    moved = pets().to("meta")
    assert (moved.x.device.type, moved.y.device.type) == ("meta", "meta")


def test_it_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        pets().name = "cats"


def test_its_repr_is_one_line_without_the_numbers():
    assert repr(pets()) == "Examples('pets': 4 rows, x (2,) float32, y int64, 2 classes)"
    assert repr(pets(y=torch.rand(4), classes=())).endswith("y float32, regression)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": torch.zeros(3, dtype=torch.int64)}, r"one row of y for each row of x, got x \(4, 2\) and y \(3,\)"),
        ({"x": torch.tensor(1.0), "y": torch.tensor(1)}, r"got x \(\) and y \(\)"),
        ({"y": torch.tensor([0, 1, 2, 0])}, "y must lie in 0 to 1, got 0 to 2"),
        ({"y": torch.tensor([0, 1, -100, 0])}, "got -100 to 1"),
        ({"y": torch.zeros(4)}, "y must be int64 .* got torch.float32 .* leave classes empty"),
        ({"features": ("weight",)}, r"names 1 features, but x is \(4, 2\)"),
    ],
)
def test_bad_examples_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        pets(**changes)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 4], "row numbers from 0 to 3, got 0 to 4"),
        ([-1], "from 0 to 3, got -1 to -1"),
        (torch.tensor([True, False, True, False]), "mask.nonzero"),
        ([[0], [1]], r"got torch.int64 of shape \(2, 1\)"),
        ([0.0, 1.0], "got torch.float32"),
    ],
)
def test_bad_row_numbers_are_refused(indices, message):
    with pytest.raises(ValueError, match=message):
        pets().take(indices)
