"""The nearest training examples: against SciPy, copies at distance exactly 0, and parts that leave no trace."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.evaluation.generation import nearest_neighbours


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_matches_scipy():
    from scipy.spatial import KDTree

    generated, training = uniform(9, 1, 4, 4, seed=1), uniform(40, 1, 4, 4, seed=2)
    tree = KDTree(training.flatten(1).double().numpy())
    distances, indices = tree.query(generated.flatten(1).double().numpy(), k=3)
    found = nearest_neighbours(generated, training, k=3)
    assert found.indices.tolist() == indices.tolist()
    assert_close(found.distances, torch.from_numpy(distances))


def test_a_copy_is_at_distance_zero_exactly_and_named():
    training = uniform(200, 1, 8, 8) + 1000  # by way of products the distances would be lost in rounding
    copied = torch.tensor([7, 150, 3])
    found = nearest_neighbours(training[copied], training)
    assert found.indices.flatten().tolist() == copied.tolist()
    assert found.distances.flatten().tolist() == [0.0, 0.0, 0.0]


def test_neighbours_come_nearest_first():
    found = nearest_neighbours(torch.zeros(1, 1), torch.tensor([[3.0], [-1.0], [2.0]]), k=3)
    assert found.indices.tolist() == [[1, 2, 0]]
    assert found.distances.tolist() == [[1.0, 2.0, 3.0]]


def test_many_rows_are_cut_into_parts_without_a_trace(monkeypatch):
    generated, training = uniform(30, 5, seed=1), uniform(20, 5, seed=2)
    whole = nearest_neighbours(generated, training, k=2)
    monkeypatch.setattr("course_lib.evaluation.generation.features._AT_ONCE", 60)
    parts = nearest_neighbours(generated, training, k=2)
    assert_close(parts, whole, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shapes", "k", "message"),
    [
        (((5, 1, 8, 8), (5, 64)), 1, r"one shape, got \(1, 8, 8\) and \(64,\)"),
        (((5, 2), (3, 2)), 4, r"the number of training examples \(3\), got 4"),
        (((5, 2), (3, 2)), 0, "k must lie in 1 to"),
        (((0, 2), (3, 2)), 1, "generated hold no samples"),
    ],
)
def test_mistakes_are_named(shapes, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(torch.ones(shapes[0]), torch.ones(shapes[1]), k=k)
