"""Bootstrap intervals: what they are, what they cover, and what they refuse."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from course_lib.scaling import BESIROGLU_2024, Bootstrap, ChinchillaLaw, bootstrap_chinchilla, coverage, fit_chinchilla

SIZES, BUDGETS = np.geomspace(5e7, 1.6e10, 8), np.geomspace(6e18, 3e21, 6)
N = np.repeat(SIZES, len(BUDGETS))
D = np.tile(BUDGETS, len(SIZES)) / 6 / N


def noisy(scale, seed=0):
    return BESIROGLU_2024.loss(N, D) * np.exp(scale * np.random.default_rng(seed).standard_normal(len(N)))


def law_with(irreducible):
    return ChinchillaLaw(irreducible, 400.0, 2000.0, 0.35, 0.37)


def test_intervals_are_percentiles_of_the_refits():
    boot = Bootstrap(law_with(1.8), tuple(law_with(value) for value in np.linspace(1, 2, 101)))
    assert_allclose(boot.interval("irreducible"), (1.05, 1.95))
    assert_allclose(boot.interval("irreducible", 0.5), (1.25, 1.75))
    assert_allclose(boot.loss_interval(1e9, 1e10), np.array([1.05, 1.95]) + law_with(0.0).loss(1e9, 1e10))
    assert boot.interval("frontier_exponent") == (0.37 / 0.72, 0.37 / 0.72)


def test_every_refit_is_a_fit_to_a_sample_of_the_runs():
    loss = noisy(0.01)
    boot = bootstrap_chinchilla(N, D, loss, seed=5, num_samples=3)
    rng = np.random.default_rng(5)
    for refit in boot.refits:
        rows = rng.integers(len(N), size=len(N))
        again = fit_chinchilla(N[rows], D[rows], loss[rows])
        assert_allclose(refit.irreducible, again.irreducible, rtol=1e-3)
        assert_allclose(refit.parameter_exponent, again.parameter_exponent, rtol=2e-2)


def test_ten_times_the_noise_makes_about_ten_times_the_interval():
    widths = []
    for scale in (0.001, 0.01):
        low, high = bootstrap_chinchilla(N, D, noisy(scale), seed=0, num_samples=40).interval("irreducible")
        widths.append(high - low)
    assert 5 < widths[1] / widths[0] < 20


def test_the_seed_decides():
    first, again, other = (bootstrap_chinchilla(N, D, noisy(0.01), seed=s, num_samples=3) for s in (1, 1, 2))
    assert first == again
    assert first.refits != other.refits


def test_groups_are_drawn_whole():
    """Each run three times over: drawn one by one it looks three times as sure as it is."""
    loss = noisy(0.01)
    n, d, copies = np.repeat(N, 3), np.repeat(D, 3), np.repeat(loss, 3)
    naive = bootstrap_chinchilla(n, d, copies, seed=0, num_samples=40).interval("irreducible")
    whole = bootstrap_chinchilla(n, d, copies, seed=0, num_samples=40, groups=np.repeat(np.arange(48), 3))
    low, high = whole.interval("irreducible")
    assert (high - low) / (naive[1] - naive[0]) > 1.3  # sqrt(3) in the limit


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Eight simulations tell a broken interval (far too narrow: none or one right) from a sound one."""
    held = coverage(BESIROGLU_2024, N, D, noise=0.005, seeds=range(8), num_samples=30)
    assert set(map(len, held.values())) == {8}
    assert all(sum(right) >= 4 for right in held.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: bootstrap_chinchilla(N, D, noisy(0.01), seed=0, num_samples=1),
            "num_samples must be at least 2, got 1",
        ),
        (lambda: bootstrap_chinchilla(N, D, noisy(0.01), seed=0, groups=[0, 1]), "one label for each of 48 runs"),
        (lambda: bootstrap_chinchilla(N[:7], D[:7], noisy(0.01)[:7], seed=0), "at least 8 runs"),
        (lambda: bootstrap_chinchilla(N, D, noisy(0.01), seed=0, groups=[0] * 48), "at least 8 different ones"),
        (lambda: Bootstrap(law_with(1), ()).interval("e"), "no value called 'e'; there are irreducible"),
        (lambda: Bootstrap(law_with(1), ()).interval("irreducible", 1.0), "between 0 and 1, got 1.0"),
        (lambda: Bootstrap(law_with(1), ()).loss_interval(1, 1, 0), "between 0 and 1, got 0"),
        (lambda: coverage(BESIROGLU_2024, N, D, noise=0, seeds=[0]), "noise must be positive and finite, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
