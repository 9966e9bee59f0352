"""Frechet distance: against SciPy's root of a matrix, values by thought, invariants, its bias, and its floor."""

import math
import warnings

import numpy as np
import pytest
import torch

from course_lib.evaluation.generation import frechet_distance, frechet_floor


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_frechet(x, y):
    """The formula read aloud, with SciPy's root of a matrix."""
    from scipy.linalg import sqrtm

    x, y = x.double().numpy(), y.double().numpy()
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2))))


@pytest.fixture
def pair():
    mix = normal(5, 5, seed=1)
    return normal(80, 5, seed=2) @ mix + 1.5, normal(50, 5, seed=3)


class TestDistance:
    def test_matches_the_formula(self, pair):
        assert frechet_distance(*pair) == pytest.approx(slow_frechet(*pair), rel=1e-9)

    def test_of_one_feature_it_is_the_difference_of_means_and_of_deviations(self):
        x = torch.tensor([-1.0, 1.0] * 4)[:, None]
        expected = 2.0**2 + (3 * math.sqrt(8 / 7) - math.sqrt(8 / 7)) ** 2  # deviations 3 and 1, over N - 1
        assert frechet_distance(x, 3 * x + 2) == pytest.approx(expected, rel=1e-12)

    def test_a_set_is_at_no_distance_from_itself_in_any_order(self, pair):
        x, _ = pair
        assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-12 * x.square().sum().item())

    def test_order_of_the_sets_shift_and_rotation_do_not_matter(self, pair):
        x, y = pair
        turn = torch.linalg.qr(normal(5, 5, seed=4)).Q
        whole = frechet_distance(x, y)
        assert frechet_distance(y, x) == pytest.approx(whole, rel=1e-12)
        assert frechet_distance(x @ turn + 7, y @ turn + 7) == pytest.approx(whole, rel=1e-10)

    def test_it_grows_with_the_square_of_the_scale(self, pair):
        x, y = pair
        assert frechet_distance(10 * x, 10 * y) == pytest.approx(100 * frechet_distance(x, y), rel=1e-12)

    def test_means_far_from_zero_do_not_drown_the_spread(self):
        x, y = normal(100, 3, seed=1), 2 * normal(100, 3, seed=2)
        assert frechet_distance(x + 1e6, y + 1e6) == pytest.approx(frechet_distance(x, y), rel=1e-6)

    def test_constant_sets_differ_by_their_means_alone(self):
        assert frechet_distance(torch.zeros(8, 2), torch.full((8, 2), 3.0)) == 18.0

    def test_fewer_samples_than_features_are_computed_and_warned_about(self):
        x, y = normal(4, 6, seed=1), normal(5, 6, seed=2)
        with pytest.warns(UserWarning, match=r"4 samples of 6 features.*Take 24 samples or more.*frechet_floor"):
            found = frechet_distance(x, y)
        assert found == pytest.approx(slow_frechet(x, y), rel=1e-6)  # SciPy's root of a singular matrix is the worse

    def test_enough_samples_are_not_warned_about(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frechet_distance(normal(24, 6), normal(24, 6, seed=1))

    def test_half_precision_is_computed_in_float64(self, pair):
        x, y = (part.bfloat16() for part in pair)
        assert frechet_distance(x, y) == frechet_distance(x.double(), y.double())

    @pytest.mark.parametrize(("num", "others"), [(200, 200), (200, 800)])
    def test_the_bias_is_as_stated(self, num, others):
        """Mean of 16 draws; one draw deviates by about 8 % for 16 features."""
        drawn = [frechet_distance(normal(num, 16, seed=s), normal(others, 16, seed=99 + s)) for s in range(16)]
        assert np.mean(drawn) == pytest.approx(16 * 21 / 4 * (1 / num + 1 / others), rel=0.08)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (torch.ones(9, 2), torch.ones(9, 3), "same features, got 2 and 3 columns"),
            (torch.ones(9, 1), torch.ones(1, 1), "at least 2 samples, got 9 and 1"),
            (torch.ones(9), torch.ones(9), r"features must be \(N, D\), a row a sample, got \(9,\): add an axis"),
            (torch.ones(9, 1, 8, 8), torch.ones(9, 64), r"got \(9, 1, 8, 8\): take the features of a network"),
            (torch.ones(9, 2), torch.ones(9, 2).long(), "other_features must be floating point, got torch.int64"),
            (torch.full((9, 2), math.nan), torch.ones(9, 2), "hold nan or inf"),
            (torch.ones(0, 2), torch.ones(9, 2), r"hold no samples, got \(0, 2\)"),
        ],
    )
    def test_mistakes_are_named(self, x, y, message):
        with pytest.raises(ValueError, match=message):
            frechet_distance(x, y)


class TestFloor:
    def test_it_is_the_distance_of_disjoint_parts(self):
        """Of two rows and two others there are three ways to pair them up; all distances are among those."""
        real = torch.tensor([[0.0], [1.0], [5.0], [20.0]])
        pairs = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
        with pytest.warns(UserWarning, match="2 samples of 1 features: this floor"):
            floor = frechet_floor(real, num_splits=30, seed=0)
        with pytest.warns(UserWarning, match="biased"):
            expected = {round(frechet_distance(real[one], real[other]), 9) for one, other in pairs}
        assert {round(value, 9) for value in floor.tolist()} == expected

    def test_parts_have_the_sizes_asked_for(self):
        """By the bias, which depends on both sizes."""
        floor = frechet_floor(normal(2000, 16), num_samples=200, num_others=800, num_splits=12, seed=1)
        assert floor.mean().item() == pytest.approx(16 * 21 / 4 * (1 / 200 + 1 / 800), rel=0.1)

    def test_the_seed_decides(self):
        real = normal(100, 2)
        assert torch.equal(frechet_floor(real, seed=3), frechet_floor(real, seed=3))
        assert not torch.equal(frechet_floor(real, seed=3), frechet_floor(real, seed=4))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_samples": 6}, "num_samples=6 and num_others=6 of 10 real rows: take smaller parts"),
            ({"num_samples": 1}, "at least 2 rows"),
            ({"num_splits": 0}, "num_splits must be at least 1, got 0"),
        ],
    )
    def test_mistakes_are_named(self, options, message):
        with pytest.raises(ValueError, match=message):
            frechet_floor(normal(10, 1), seed=0, **options)
