"""What a learner is told about a result: each symptom by its name, and nothing where there is none."""

import re

import numpy as np
import pytest
import torch

from course_lib.study.exercises.compare import Rules, difference

RULES = Rules(tolerance=(1e-9, 1e-12), number_tolerance=(1e-4, 1e-5))
TABLE = np.array([[1.0, -2.0], [3.0, 4.0]])
ROW = np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("expected", "got", "symptom"),
    [
        (TABLE, None, "the result is None"),
        (TABLE, "text", "should be an array, but is a str"),
        (TABLE, TABLE.tolist(), "should be an array, but is a list"),
        (TABLE, TABLE[0], r"has shape \(2,\) where shape \(2, 2\) is expected"),
        (TABLE, 1.0, r"is a single number where shape \(2, 2\) is expected"),
        (1.0, np.ones(1), r"has shape \(1,\) where a single number is expected"),
        (ROW, np.array([1, 2, 4]), "should hold floating-point numbers, but its dtype is int64"),
        (np.array([1, 2]), np.array([1.0, 2.0]), "should hold whole numbers, but its dtype is float64"),
        (np.array([True, False]), np.array([1, 0]), "should hold booleans, but its dtype is int64"),
        (ROW, np.array([1.0, np.nan, 4.0]), r"is nan at \[1\], where a number is expected"),
        (ROW, np.array([1.0, 2.0, np.inf]), r"is inf at \[2\], where a number is expected"),
        (np.array([0.0, np.nan]), np.zeros(2), r"is a number at \[1\], where nan is expected"),
        (ROW, -ROW, "has the wrong sign everywhere"),
        (2.0, -2.0, "has the wrong sign"),
        (TABLE, TABLE.T.copy(), "is transposed"),
        (ROW, 3 * ROW, "is 3 times what is expected"),
        (ROW, (1 - 2e-5) * ROW, "is 1 - 2e-05 times what is expected"),
        (ROW, ROW + 2.5, r"is off by \+2.5 everywhere"),
        (ROW, ROW[::-1], "the right numbers in other places"),
        (ROW, np.array([1.0, 2.0, 5.0]), r"is wrong in 1 of 3 places, namely at \[2\]: 5.0 instead of 4.0"),
        (ROW, np.array([9.0, 2.0, 5.0]), r"is wrong in 2 of 3 places, most of all at \[0\]: 9.0 instead of 1.0"),
        (ROW, np.array([1.0, 2.0, 4.0 + 4e-6]), r"nearly right, but off by a factor of 1 \+ 1e-06"),
        (2.0, 3.0, "is too large"),
        (2, 1, "is too small"),
        ("a", "b", "is another one"),
        ((1.0, 2.0), 1.0, "should be 2 values, but is one float"),
        ((1.0, 2.0), (1.0,), "has 1 values where 2 are expected"),
        ((1.0, ROW), (1.0, -ROW), r"result\[1\] has the wrong sign"),
        ({"loss": 1.0}, [1.0], "should be a dict, but is a list"),
        ({"loss": 1.0}, {}, r"has keys \[\] where \['loss'\] are expected"),
        ({"loss": 1.0}, {"loss": 2.0}, r"result\['loss'\] is too large"),
    ],
)
def test_each_symptom_has_its_words(expected, got, symptom):
    found = difference(expected, got, RULES)
    assert found is not None
    assert found.symptom.startswith(("the result", "result["))
    assert re.search(symptom, found.symptom), found.symptom
    assert found.look_at


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (ROW, ROW + 1e-12),
        (ROW, torch.tensor(ROW)),
        (0.5, torch.tensor(0.5)),
        (0.5, np.float32(0.5)),
        (1 / 3, torch.tensor(1 / 3, dtype=torch.float32)),
        (3, np.int32(3)),
        (True, np.bool_(True)),
        (np.array([1, 2]), np.array([1, 2], dtype=np.int32)),
        (np.array([np.nan, -np.inf]), np.array([np.nan, -np.inf])),
        ((1.0, ROW), [1, ROW]),
        ([1, 2, 3], np.array([1, 2, 3])),
        ([1, 2, 3], torch.tensor([1, 2, 3])),
        ({"loss": 1.0}, {"loss": torch.tensor(1.0)}),
        ("a", "a"),
        (None, None),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (ROW, torch.tensor(ROW, requires_grad=True)),
    ],
)
def test_equal_in_another_form_is_no_difference(expected, got):
    assert difference(expected, got, RULES) is None


def test_whole_numbers_are_compared_exactly():
    large = np.array([10**12, 1])
    assert difference(large, large + np.array([1, 0]), RULES) is not None


@pytest.mark.parametrize(
    ("rules", "got", "symptom"),
    [
        (Rules((1e-9, 0), (1e-4, 0), kind="torch"), ROW, "should be a tensor, but is a NumPy array"),
        (Rules((1e-9, 0), (1e-4, 0), kind="numpy"), torch.tensor(ROW), "should be a NumPy array, but is a tensor"),
        (
            Rules((1e-9, 0), (1e-4, 0), dtype="float64"),
            ROW.astype(np.float32),
            "has dtype float32, the arguments have float64",
        ),
        (
            Rules((1e-2, 0), (1e-2, 0), dtype="bfloat16"),
            torch.tensor(ROW),
            "has dtype float64, the arguments have bfloat16",
        ),
    ],
)
def test_kind_and_dtype_are_told(rules, got, symptom):
    found = difference(ROW, got, rules)
    assert found is not None
    assert symptom in found.symptom
    assert not found.same_form


def test_only_a_difference_of_numbers_is_of_the_same_form():
    assert difference(ROW, 3 * ROW, RULES).same_form
    assert not difference(ROW, ROW[:2], RULES).same_form
