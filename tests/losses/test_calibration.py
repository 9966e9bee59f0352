"""Calibration error: a bin-by-bin loop, values by thought, invariants, edges of bins, bad input."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import expected_calibration_error


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(500, 4, generator=generator, dtype=torch.float64)
    return logits.softmax(-1), torch.randint(0, 4, (500,), generator=generator)


def slow_expected_calibration_error(probabilities, target, num_bins):
    """Equation 3: sort the predictions into bins, compare accuracy and confidence in each."""
    bins = [[] for _ in range(num_bins)]
    for row, label in zip(probabilities.tolist(), target.tolist(), strict=True):
        confidence = max(row)
        bins[math.ceil(confidence * num_bins) - 1].append((confidence, row.index(confidence) == label))
    total = 0.0
    for members in bins:
        if members:
            confidence = sum(c for c, _ in members) / len(members)
            accuracy = sum(right for _, right in members) / len(members)
            total += len(members) / len(target) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("num_bins", [1, 7, 10, 15, 100])
def test_matches_the_formula_read_aloud(rows, num_bins):
    expected = slow_expected_calibration_error(*rows, num_bins)
    assert 0.1 < expected < 0.9
    assert_close(expected_calibration_error(*rows, num_bins=num_bins).item(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("right", "expected"), [(0, 0.75), (3, 0.0), (4, 0.25)])
def test_three_of_four_right_is_perfect_at_three_quarters(right, expected):
    probabilities = torch.tensor([[0.75, 0.25]]).expand(4, 2)
    target = (torch.arange(4) >= right).long()
    assert expected_calibration_error(probabilities, target).item() == expected


def test_certain_and_always_right_or_always_wrong():
    certain = torch.eye(3)
    assert expected_calibration_error(certain, torch.arange(3)).item() == 0
    assert expected_calibration_error(certain, torch.tensor([1, 2, 0])).item() == 1


def test_gaps_of_two_bins_do_not_cancel_and_gaps_within_one_do():
    probabilities = torch.tensor([[0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    target = torch.tensor([0, 1])  # under-confident by 0.4, over-confident by 0.9
    assert_close(expected_calibration_error(probabilities, target, num_bins=10).item(), 0.65, rtol=1e-14, atol=0)
    assert_close(expected_calibration_error(probabilities, target, num_bins=1).item(), 0.25, rtol=1e-14, atol=0)


def test_a_bin_owns_its_right_edge():
    """0.5 belongs to (0.25, 0.5], with 0.3 and not with 0.6: gaps 0.5 and -0.3 meet, gap 0.4 stands alone."""
    probabilities = torch.tensor(
        [[0.5, 0.25, 0.25, 0.0], [0.3, 0.3 - 1e-9, 0.2, 0.2 + 1e-9], [0.6, 0.4, 0.0, 0.0]], dtype=torch.float64
    )
    error = expected_calibration_error(probabilities, torch.tensor([0, 1, 0]), num_bins=4)
    assert_close(error.item(), (abs(0.5 - 0.3) + 0.4) / 3, rtol=1e-14, atol=0)


def test_order_of_rows_names_of_classes_and_repetition_do_not_matter(rows):
    probabilities, target = rows
    expected = expected_calibration_error(*rows)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    assert_close(expected_calibration_error(probabilities[order], target[order]), expected, rtol=1e-12, atol=0)
    assert_close(expected_calibration_error(probabilities.flip(1), 3 - target), expected, rtol=1e-12, atol=0)
    twice = expected_calibration_error(probabilities.repeat(2, 1), target.repeat(2))
    assert_close(twice, expected, rtol=1e-12, atol=0)


def test_targets_drawn_from_the_probabilities_are_calibrated_up_to_noise():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(200_000, 4, generator=generator).softmax(-1)
    target = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    error = expected_calibration_error(probabilities, target).item()
    assert error < 0.01  # each of about 10 filled bins is off by sqrt(p (1 - p) / n), in all some 0.004


def test_it_is_a_metric_without_gradient_that_keeps_float32_for_half_precision(rows):
    probabilities, target = rows
    error = expected_calibration_error(probabilities.bfloat16().requires_grad_(), target)
    assert error.dtype == torch.float32
    assert not error.requires_grad
    assert_close(error.item(), expected_calibration_error(*rows).item(), rtol=0, atol=0.02)  # bf16: 1/256 and bin moves


@pytest.mark.parametrize(
    ("probabilities", "target", "options", "message"),
    [
        (torch.ones(3), torch.zeros(3).long(), {}, r"\(N, K\) with N >= 1, got \(3,\)"),
        (torch.ones(0, 3), torch.zeros(0).long(), {}, r"\(N, K\) with N >= 1, got \(0, 3\)"),
        (torch.eye(3), torch.zeros(3, 1).long(), {}, r"labels \(3, 1\)"),
        (torch.eye(3), torch.zeros(3), {}, "class labels must be int64"),
        (torch.eye(3).long(), torch.zeros(3).long(), {}, "probabilities must be floating point"),
        (torch.eye(3), torch.zeros(3).long(), {"num_bins": 0}, "num_bins must be at least 1, got 0"),
        (2 * torch.eye(3), torch.zeros(3).long(), {}, r"sums up to 1 away from 1: pass softmax\(logits\)"),
        (torch.tensor([[1.5, -0.5]]), torch.tensor([0]), {}, "a smallest entry of -0.5"),
        (torch.tensor([[math.nan, 1.0]]), torch.tensor([0]), {}, "a smallest entry of nan"),
        (torch.eye(3), torch.tensor([0, 1, 3]), {}, r"must be in \[0, 3\), got 0 to 3: drop rows without a label"),
        (torch.eye(3), torch.tensor([0, 1, -100]), {}, "got -100 to 1"),
    ],
)
def test_bad_input_is_named(probabilities, target, options, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(probabilities, target, **options)
