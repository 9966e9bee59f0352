"""How exercises see values: what counts as the same, what an oracle is given, what a learner reads."""

import numpy as np
import pytest
import torch

from course_lib.study.exercises.values import in_float64, in_form, num_elements, same, written

NAN = float("nan")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN]), True),
        (torch.tensor([1.0]), torch.tensor([1.0 + 1e-7]), False),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64), False),
        (torch.tensor([1.0]), np.array([1.0], dtype=np.float32), False),
        (np.zeros(2), np.zeros((2, 1)), False),
        ([1, {"a": np.zeros(1)}], [1, {"a": np.zeros(1)}], True),
        ([1, {"a": np.zeros(1)}], [1, {"a": np.ones(1)}], False),
        ([1], [1, 2], False),
        (NAN, NAN, True),
        ("a", "b", False),
        (torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), True),  # not looked into
    ],
)
def test_same(first, second, expected):
    assert same(first, second) is expected


def test_an_oracle_gets_float64_copies_and_whole_numbers_as_they_are():
    given = (torch.ones(2, dtype=torch.bfloat16), [np.ones(2, np.float32)], np.array([1]), {"rate": 0.1}, "name")
    tensor, (array,), counts, options, name = in_float64(given)
    assert tensor.dtype == torch.float64
    assert array.dtype == np.float64
    assert counts.dtype == given[2].dtype
    assert (options, name) == ({"rate": 0.1}, "name")
    counts += 1
    assert given[2].tolist() == [1]


def test_what_is_expected_is_shown_in_the_learners_kind_and_dtype():
    shown = in_form((np.ones(1), np.array([1]), 0.5), "torch", "float32")
    assert written(shown) == "(tensor([1.], float32), tensor([1], int64), 0.5)"
    assert written(in_form(torch.ones(1), "numpy", None)) == "array([1.], float32)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor([[1.0, 2.0]]), "tensor([[1., 2.]], float32)"),
        (torch.tensor([0.5], dtype=torch.bfloat16), "tensor([0.5], bfloat16)"),
        (torch.tensor(2), "tensor(2, int64)"),
        (np.zeros((0, 3)), "array([], float64, shape (0, 3))"),
        (torch.arange(100), "tensor([ 0,  1,  2, ..., 97, 98, 99], int64, shape (100,))"),
        ([1.0, True, None, "a"], "[1.0, True, None, 'a']"),
        ((1,), "(1,)"),
        (list(range(20)), "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
        ({"rate": 1e-10}, "{'rate': 1e-10}"),
        (np.float32(1 / 3), "0.333333"),
        (float("inf"), "inf"),
        ("x" * 100, "'" + "x" * 76 + "..."),
    ],
)
def test_written(value, text):
    assert written(value) == text


def test_num_elements_counts_what_there_is_to_read():
    assert num_elements((np.zeros((2, 3)), [torch.tensor(1.0), 5], {"a": "text"})) == 9
