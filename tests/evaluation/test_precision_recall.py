"""Precision and recall of samples: against the paper's definition point by point, and cases known by thought."""

import math

import pytest
import torch

from course_lib.evaluation.generation import precision_recall


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_reach(points, others, k):
    """Equations 1 and 2 read aloud: is there one of the others whose k-th neighbour is as far away as I am?"""
    inside = 0
    for point in points:
        for index, other in enumerate(others):
            rest = torch.cat([others[:index], others[index + 1 :]])
            radius = sorted(math.dist(other, each) for each in rest)[k - 1]
            if math.dist(point, other) <= radius:
                inside += 1
                break
    return inside / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_matches_the_definition(k):
    real, generated = normal(30, 4, seed=1), 1.3 * normal(25, 4, seed=2) + 0.3
    found = precision_recall(real, generated, k=k)
    assert found.precision == slow_reach(generated, real, k)
    assert found.recall == slow_reach(real, generated, k)
    assert 0 < found.precision < 1


def test_many_rows_are_cut_into_parts_without_a_trace(monkeypatch):
    real, generated = normal(50, 3, seed=1), normal(40, 3, seed=2)
    whole = precision_recall(real, generated)
    monkeypatch.setattr("course_lib.evaluation.generation.features._AT_ONCE", 100)
    assert precision_recall(real, generated) == whole


def test_a_set_reaches_all_of_itself():
    x = normal(20, 3)
    assert precision_recall(x, x) == (1.0, 1.0)


def test_one_good_image_for_ever_is_precise_and_recalls_nothing():
    real = normal(50, 2)
    assert precision_recall(real, real[:1].expand(50, 2)) == (1.0, 1 / 50)


def test_sets_far_apart_reach_nothing_of_each_other():
    assert precision_recall(normal(20, 3), normal(20, 3, seed=1) + 100) == (0.0, 0.0)


def test_exchanging_the_sets_exchanges_the_two():
    x, y = normal(40, 3, seed=1), normal(60, 3, seed=2) + 0.5
    assert tuple(precision_recall(x, y)) == tuple(reversed(precision_recall(y, x)))


def test_a_larger_k_reaches_farther():
    x, y = normal(40, 3, seed=1), normal(40, 3, seed=2) + 0.5
    found = [precision_recall(x, y, k=k) for k in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_scale_does_not_matter():
    x, y = normal(40, 3, seed=1), normal(40, 3, seed=2) + 0.5
    assert precision_recall(1024 * x, 1024 * y) == precision_recall(x, y)  # a power of two rounds nothing


@pytest.mark.parametrize(
    ("shapes", "k", "message"),
    [
        (((5, 2), (5, 3)), 3, "same features, got 2 and 3 columns"),
        (((5, 2), (3, 2)), 3, "less than the number of samples in each set, got k=3 for 5 real and 3 generated"),
        (((5, 2), (5, 2)), 0, "k must be at least 1"),
        (((5, 1, 8, 8), (5, 64)), 3, "take the features of a network"),
    ],
)
def test_mistakes_are_named(shapes, k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(torch.ones(shapes[0]), torch.ones(shapes[1]), k=k)
